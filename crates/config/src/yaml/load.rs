//! Text to nodes, under limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Node, NodeKind, Scalar, ScalarTag};
use crate::Place;

/// The largest document, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 64;
/// How many nodes a document may have once its aliases are expanded.
const MAX_NODES: usize = 4_000_000;
/// How many nodes aliases may add: the answer to the "billion laughs".
const MAX_ALIASED: usize = 200_000;

/// Why a text is not YAML, or too much of it.
#[derive(Debug)]
pub(crate) struct YamlError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Reads the first document of a text; `None` if the text holds none.
pub(crate) fn load(text: &str) -> Result<Option<Node>, YamlError> {
    load_first(text).map(|(node, _)| node)
}

/// Reads the first document of a text, and whether anything follows it.
pub(crate) fn load_first(text: &str) -> Result<(Option<Node>, bool), YamlError> {
    let nowhere = Place::default();
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_BYTES}", text.len());
        return Err(YamlError { place: nowhere, message });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    let mut events = Parser::new_from_str(text);
    for event in events.by_ref() {
        let (event, span) = event.map_err(|e| YamlError {
            place: place(e.marker().line(), e.marker().col()),
            message: format!("not valid YAML: {}", e.info()),
        })?;
        if builder.event(event, span)? {
            break;
        }
    }
    // What follows need not be right: nobody reads it.
    let more = !matches!(events.next(), None | Some(Ok((Event::StreamEnd, _))));
    Ok((builder.root, more))
}

fn place(line: usize, column: usize) -> Place {
    let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: narrow(line), column: narrow(column.saturating_add(1)) }
}

/// An open list or mapping.
struct Open {
    node: Node,
    /// The key that waits for its value.
    key: Option<Node>,
    anchor: usize,
    /// Number of nodes before this one, to know its size when it closes.
    before: usize,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    /// Anchored nodes, each with its number of nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    aliased: usize,
}

impl Builder {
    /// Takes an event; true when the first document is complete.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<bool, YamlError> {
        let at = place(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                    tag: scalar_tag(tag.as_deref()),
                };
                self.count(1, at)?;
                let node = Node { place: at, kind: NodeKind::Scalar(scalar) };
                self.complete(node, anchor, 1)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.start(NodeKind::List(Vec::new()), anchor, at)?
            }
            Event::MappingStart(anchor, _) => self.start(NodeKind::Map(Vec::new()), anchor, at)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => self.alias(anchor, at)?,
            Event::DocumentEnd => return Ok(true),
            Event::DocumentStart(_) | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(false)
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} nodes");
            return Err(YamlError { place, message });
        }
        Ok(())
    }

    fn start(&mut self, kind: NodeKind, anchor: usize, place: Place) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(YamlError { place, message });
        }
        let before = self.nodes;
        self.count(1, place)?;
        self.open.push(Open { node: Node { place, kind }, key: None, anchor, before });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(Open { mut node, anchor, before, .. }) = self.open.pop() else { return Ok(()) };
        if let NodeKind::Map(pairs) = &mut node.kind {
            *pairs = merge(std::mem::take(pairs))?;
        }
        self.complete(node, anchor, self.nodes - before)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), YamlError> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            let message = "an alias inside of the value that it names".to_owned();
            return Err(YamlError { place, message });
        };
        let size = *size;
        self.aliased += size;
        if self.aliased > MAX_ALIASED {
            let message = format!("aliases repeat more than {MAX_ALIASED} nodes");
            return Err(YamlError { place, message });
        }
        let node = node.clone();
        self.count(size, place)?;
        self.complete(node, 0, size)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            NodeKind::List(items) => items.push(node),
            NodeKind::Map(pairs) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
            NodeKind::Scalar(_) => {}
        }
        Ok(())
    }
}

fn scalar_tag(tag: Option<&Tag>) -> ScalarTag {
    match tag {
        Some(t) if t.is_yaml_core_schema() && t.suffix == "str" => ScalarTag::Str,
        Some(t) if t.is_yaml_core_schema() && t.suffix == "binary" => ScalarTag::Binary,
        // The tag `!` means "not resolved", which is a string.
        Some(t) if t.handle.is_empty() && t.suffix == "!" => ScalarTag::Str,
        _ => ScalarTag::None,
    }
}

/// Replaces `<<: *other` by the pairs of the other mapping that the mapping does not have itself.
fn merge(pairs: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>, YamlError> {
    let is_merge = |key: &Node| match &key.kind {
        NodeKind::Scalar(s) => s.plain && s.text == "<<",
        _ => false,
    };
    if !pairs.iter().any(|(key, _)| is_merge(key)) {
        return Ok(pairs);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(k, _)| is_merge(k));
    for (key, value) in merges {
        let bad = || YamlError {
            place: key.place,
            message: "map merge requires map or sequence of maps as the value".to_owned(),
        };
        let sources = match value.kind {
            NodeKind::Map(pairs) => vec![pairs],
            NodeKind::List(items) => items
                .into_iter()
                .map(|item| match item.kind {
                    NodeKind::Map(pairs) => Ok(pairs),
                    _ => Err(bad()),
                })
                .collect::<Result<_, _>>()?,
            NodeKind::Scalar(_) => return Err(bad()),
        };
        for (key, value) in sources.into_iter().flatten() {
            if !own.iter().any(|(k, _)| same_key(k, &key)) {
                own.push((key, value));
            }
        }
    }
    Ok(own)
}

fn same_key(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (NodeKind::Scalar(a), NodeKind::Scalar(b)) => a.text == b.text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(node: &Node) -> Vec<(String, String)> {
        let NodeKind::Map(pairs) = &node.kind else { panic!("not a mapping") };
        let text = |n: &Node| match &n.kind {
            NodeKind::Scalar(s) => s.text.clone(),
            other => format!("{other:?}"),
        };
        pairs.iter().map(|(k, v)| (text(k), text(v))).collect()
    }

    #[test]
    fn knows_places() {
        let root = load("a: 1\nb:\n  - x\n").unwrap().unwrap();
        let NodeKind::Map(pairs) = &root.kind else { panic!() };
        assert_eq!(pairs[1].0.place, Place { line: 2, column: 1 });
        let NodeKind::List(items) = &pairs[1].1.kind else { panic!() };
        assert_eq!(items[0].place, Place { line: 3, column: 5 });
    }

    #[test]
    fn merges_mappings() {
        let root = load("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n").unwrap().unwrap();
        let NodeKind::Map(top) = &root.kind else { panic!() };
        let mut own = pairs(&top[1].1);
        own.sort();
        assert_eq!(own, [("x".into(), "1".into()), ("y".into(), "3".into())]);
    }

    #[test]
    fn limits_depth_and_aliases() {
        assert!(load(&"[".repeat(200)).is_err());
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let last = i - 1;
            let refs = vec![format!("*a{last}"); 10].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(load(&laughs).unwrap_err().message.contains("aliases repeat"));
        assert!(load("a: &a [*a]").is_err());
    }

    #[test]
    fn an_empty_text_is_no_document() {
        assert!(load("").unwrap().is_none_or(|n| n.is_null()));
        assert!(load("# nothing\n").unwrap().is_none_or(|n| n.is_null()));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z:\\-\\[\\]{}&*!|>'\"#%@, \n0-9<]{0,60}") {
            let _ = load(&text);
        }
    }
}
