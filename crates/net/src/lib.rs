#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod auth;
mod body;
mod client;
mod connect;
mod error;
#[cfg(feature = "tls")]
mod jwt;
mod oauth2;
mod proxy;
mod redirect;
#[cfg(feature = "server-tls")]
mod server_tls;
#[cfg(feature = "sigv4")]
mod sigv4;
mod socks;
#[cfg(feature = "tls")]
mod tls;

pub use body::{Body, Limits};
pub use client::{HttpClient, Request, Response};
pub use error::{NetError, NetErrorKind};
#[cfg(feature = "server-tls")]
pub use server_tls::{PreparedTls, ServerTls};
#[cfg(feature = "sigv4")]
pub use sigv4::{AwsCredentials, sign_v4};
