//! `/targets`.

use super::html::Html;
use crate::{handlers::targets::rfc3339, params::Params, service::Inner};

pub(super) fn render(inner: &Inner, _: &Params) -> String {
    let mut html = Html::page(inner, "/targets");
    let Some(source) = &inner.targets else {
        html.raw("<p>This program scrapes nothing.</p>");
        return html.finish();
    };
    let targets = source.active();
    if targets.is_empty() {
        html.raw("<p>No targets. See <code>scrape_configs</code> of the configuration.</p>");
    }
    let mut pool = None;
    for target in &targets {
        if pool != Some(&target.scrape_pool) {
            if pool.is_some() {
                html.raw("</table>");
            }
            let of_pool = || targets.iter().filter(|t| t.scrape_pool == target.scrape_pool);
            let up = of_pool().filter(|t| t.health == "up").count();
            html.raw("<h2>").text(&target.scrape_pool);
            html.raw(" <small>").display(format_args!("{up}/{} up", of_pool().count()));
            html.raw("</small></h2><table><tr><th>Endpoint</th><th>State</th><th>Labels</th>")
                .raw("<th>Last scrape</th><th>Duration</th><th>Error</th></tr>");
            pool = Some(&target.scrape_pool);
        }
        html.raw("<tr><td>").link(&target.scrape_url).raw("</td><td class=\"");
        html.text(target.health).raw("\">").text(target.health).raw("</td><td>");
        for (name, value) in &target.labels {
            html.raw("<code>").text(name).raw("=\"").text(value).raw("\"</code> ");
        }
        html.raw("</td><td>");
        if target.last_scrape.is_some() {
            html.text(&rfc3339(target.last_scrape));
        } else {
            html.raw("never");
        }
        html.raw("</td><td>").display(format_args!("{:.1} ms", target.last_scrape_duration * 1e3));
        html.raw("</td><td>").text(&target.last_error).raw("</td></tr>");
    }
    if pool.is_some() {
        html.raw("</table>");
    }
    html.finish()
}
