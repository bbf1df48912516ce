#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod auth;
mod body;
mod client;
mod connect;
mod error;
mod oauth2;
mod proxy;
mod redirect;
#[cfg(feature = "server-tls")]
mod server_tls;
#[cfg(feature = "tls")]
mod tls;

pub use body::{Body, Limits};
pub use client::{HttpClient, Request, Response};
pub use error::{NetError, NetErrorKind};
#[cfg(feature = "server-tls")]
pub use server_tls::{PreparedTls, ServerTls};
