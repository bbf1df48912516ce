//! Answers in XML, as a tree.

use quick_xml::{Reader, events::Event};

/// Elements within elements.
const MOST_DEPTH: usize = 64;

/// An element: its name without prefix, its own text, and the elements in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document; returns its outermost element.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Self { name, ..Self::default() });
                    if open.len() > MOST_DEPTH {
                        return Err(format!("deeper than {MOST_DEPTH} elements"));
                    }
                }
                Event::End(_) => {
                    let done = open.pop().unwrap_or_default();
                    match open.last_mut() {
                        Some(outer) => outer.children.push(done),
                        None => return Err("an element ends that has not begun".to_owned()),
                    }
                }
                Event::Text(text) => {
                    open.last_mut().into_iter().for_each(|e| e.text.push_str(&text));
                }
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    let resolved = match name {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => reference.resolve_char_ref().map_err(|e| e.to_string())?,
                    };
                    let character = resolved.ok_or_else(|| format!("unknown entity &{name};"))?;
                    open.last_mut().into_iter().for_each(|e| e.text.push(character));
                }
                Event::CData(data) => {
                    open.last_mut().into_iter().for_each(|e| e.text.push_str(&data));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let mut root = open.pop().filter(|_| open.is_empty()).ok_or("it ends too early")?;
        root.children.pop().ok_or_else(|| "there is no element".to_owned())
    }

    /// The first element of a name in this one.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of a name; none if there is none or it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }

    /// The `item`s, or `member`s, of the list of a name.
    pub(super) fn items(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.get(name).map_or(&[][..], |list| &list.children).iter()
    }

    /// The first element of a name, however deep.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_trees() {
        let text = "<?xml version=\"1.0\"?><a:R xmlns:a=\"x\"><set><item><k>a &amp; b&#33;</k></item><item/></set><e/></a:R>";
        let root = Element::parse(text).unwrap();
        assert_eq!(root.name, "R");
        let first = root.items("set").next().unwrap();
        assert_eq!(first.text("k"), Some("a & b!"));
        assert!(root.text("e").is_none());
        assert_eq!(root.find("k").map(|k| k.text.as_str()), Some("a & b!"));
    }

    #[test]
    fn refuses_what_is_not_whole() {
        for bad in ["", "<a>", "<a></b>", "</a>", "<a>&x;</a>"] {
            assert!(Element::parse(bad).is_err(), "{bad}");
        }
        let deep = "<a>".repeat(1000) + &"</a>".repeat(1000);
        assert!(Element::parse(&deep).is_err());
    }
}
