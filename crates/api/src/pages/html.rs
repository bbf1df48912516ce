//! HTML with everything escaped that comes from outside.

use std::fmt::Write as _;

use super::PAGES;
use crate::service::Inner;

/// A page under construction.
pub(super) struct Html {
    out: String,
}

impl Html {
    /// Begins a page: head, menu, heading.
    pub(super) fn page(inner: &Inner, current: &str) -> Self {
        let mut html = Self { out: String::with_capacity(16 << 10) };
        let name = PAGES.iter().find(|(path, ..)| *path == current).map_or("", |(_, name, _)| name);
        html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
            .raw("<meta name=\"viewport\" content=\"width=device-width\"><title>")
            .text(name)
            .raw(" - ")
            .text(&inner.page_title)
            .raw("</title><link rel=\"stylesheet\" href=\"")
            .text(&inner.prefix)
            .raw("/assets/style.css\"></head><body><header><strong>Firesteel</strong><nav>");
        for (path, name, _) in PAGES {
            html.raw("<a href=\"").text(&inner.prefix).text(path).raw("\"");
            if path == current {
                html.raw(" aria-current=\"page\"");
            }
            html.raw(">").text(name).raw("</a>");
        }
        html.raw("</nav></header><main><h1>").text(name).raw("</h1>");
        html
    }

    /// Adds markup as it is.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Adds text, escaped for contents and for quoted attributes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                c => self.out.push(c),
            }
        }
        self
    }

    /// Adds anything that prints, escaped.
    pub(super) fn display(&mut self, value: impl std::fmt::Display) -> &mut Self {
        let mut text = String::new();
        let _ = write!(text, "{value}");
        self.text(&text)
    }

    /// Adds a link where the address is http or https, the bare text otherwise: addresses come
    /// from targets.
    pub(super) fn link(&mut self, address: &str) -> &mut Self {
        if address.starts_with("http://") || address.starts_with("https://") {
            self.raw("<a rel=\"noreferrer\" href=\"")
                .text(address)
                .raw("\">")
                .text(address)
                .raw("</a>")
        } else {
            self.text(address)
        }
    }

    /// Adds a table of two columns.
    pub(super) fn pairs<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> &mut Self {
        self.raw("<table>");
        for (name, value) in rows {
            self.raw("<tr><th>").text(name).raw("</th><td>").text(value).raw("</td></tr>");
        }
        self.raw("</table>")
    }

    /// Ends the page.
    pub(super) fn finish(mut self) -> String {
        self.raw("</main></body></html>\n");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut html = Html { out: String::new() };
        html.text("<script>'\"&").link("javascript:alert(1)");
        assert_eq!(html.out, "&lt;script&gt;&#39;&quot;&amp;javascript:alert(1)");
    }
}
