//! Tokens to a tree. Source: Go's `text/template/parse`, whose look-ahead this keeps, because the
//! lines in errors depend on it.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use firesteel_model::float::{go_quote, go_unquote};

use super::{
    ast::{Action, Branch, Command, Invocation, List, Node, Operand, OperandKind, Pipe},
    lexer::Lexer,
    limits::MAX_NESTING,
    number::Number,
    signature,
    token::{Kind, Token},
};

/// The templates that a text defines, itself included, by name.
pub(super) type Trees = HashMap<String, List>;

/// What ends a list of nodes.
enum Ending {
    End,
    /// `else`, or the `else` of `else if` and `else with`, whose second word is still to come.
    Else,
}

impl Ending {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Item {
    Node(Node),
    Ending(Ending),
}

/// What a template has of its own; definitions and blocks begin with a new one.
struct Scope {
    variables: Vec<String>,
    range_depth: usize,
    /// The line of the action that is being read, 0 outside.
    action_line: usize,
}

impl Scope {
    fn new() -> Self {
        Self { variables: vec!["$".to_owned()], range_depth: 0, action_line: 0 }
    }
}

struct Parser<'t> {
    name: &'t str,
    lexer: Lexer<'t>,
    /// The newest token is the first.
    tokens: [Token<'t>; 3],
    peeked: usize,
    scope: Scope,
    trees: Trees,
    nesting: usize,
    /// Whether a function exists.
    functions: &'t HashSet<&'static str>,
}

type Parsed<T> = Result<T, String>;

/// Parses a text and the templates that it defines.
///
/// # Errors
/// Go's message, `template: name:line: what`.
pub(super) fn parse(name: &str, text: &str) -> Result<Trees, String> {
    let nothing = Token { kind: Kind::Eof, pos: 0, text: Cow::Borrowed(""), line: 0 };
    let mut parser = Parser {
        name,
        lexer: Lexer::new(text),
        tokens: [nothing.clone(), nothing.clone(), nothing],
        peeked: 0,
        scope: Scope::new(),
        trees: Trees::new(),
        nesting: 0,
        functions: signature::names(),
    };
    let root = parser.top_level()?;
    parser.add(name.to_owned(), root)?;
    Ok(parser.trees)
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Token<'t> {
        match self.peeked.checked_sub(1) {
            Some(peeked) => self.peeked = peeked,
            None => self.tokens[0] = self.lexer.next_token(),
        }
        self.tokens[self.peeked.min(2)].clone()
    }

    const fn backup(&mut self) {
        self.peeked += 1;
    }

    fn peek(&mut self) -> Token<'t> {
        let token = self.next();
        self.backup();
        token
    }

    fn next_non_space(&mut self) -> Token<'t> {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token<'t> {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        Err(format!("template: {}:{}: {message}", self.name, self.tokens[0].line))
    }

    fn unexpected<T>(&self, token: &Token<'_>, context: &str) -> Parsed<T> {
        if token.kind != Kind::Error {
            return self.error(format_args!("unexpected {token} in {context}"));
        }
        let line = self.scope.action_line;
        if line == 0 || line == token.line {
            return self.error(token);
        }
        let within = if token.text.ends_with(" action") { "" } else { " in action" };
        self.error(format_args!("{token}{within} started at {}:{line}", self.name))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token<'t>> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    /// Goes one level deeper while `inner` runs.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.error(format_args!("nested more than {MAX_NESTING} levels deep"));
        }
        self.nesting += 1;
        let parsed = inner(self);
        self.nesting -= 1;
        parsed
    }

    /// Runs `inner` in a scope of its own, as definitions have.
    fn scoped<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let parsed = inner(self);
        self.scope = outer;
        parsed
    }

    /// A definition replaces one that is blank.
    fn add(&mut self, name: String, list: List) -> Parsed<()> {
        match self.trees.get(&name) {
            Some(other) if !other.is_blank() => match list.is_blank() {
                true => Ok(()),
                false => self.error(format_args!(
                    "template: multiple definition of template {}",
                    go_quote(&name)
                )),
            },
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn top_level(&mut self) -> Parsed<List> {
        let mut list = List::default();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let delimiter = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.scoped(Self::definition)?;
                    continue;
                }
                self.tokens[1] = delimiter;
                self.peeked = 2;
            }
            match self.text_or_action()? {
                Item::Node(node) => list.nodes.push(node),
                Item::Ending(ending) => {
                    return self.error(format_args!("unexpected {}", ending.as_str()));
                }
            }
        }
        Ok(list)
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let list = self.definition_body(CONTEXT)?;
        self.add(name, list)
    }

    fn definition_body(&mut self, context: &str) -> Parsed<List> {
        match self.list()? {
            (list, Ending::End) => Ok(list),
            (_, ending) => self.error(format_args!("unexpected {} in {context}", ending.as_str())),
        }
    }

    /// Nodes up to `end` or `else`.
    fn list(&mut self) -> Parsed<(List, Ending)> {
        self.nested(|parser| {
            let mut list = List::default();
            while parser.peek_non_space().kind != Kind::Eof {
                match parser.text_or_action()? {
                    Item::Node(node) => list.nodes.push(node),
                    Item::Ending(ending) => return Ok((list, ending)),
                }
            }
            parser.error("unexpected EOF")
        })
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text.into_owned()))),
            Kind::LeftDelim => {
                self.scope.action_line = token.line;
                let item = self.action()?;
                self.scope.action_line = 0;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Else => return self.else_control(),
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::Ending(Ending::End));
            }
            Kind::Block => self.block()?,
            Kind::Break => self.loop_control("{{break}}", Node::Break)?,
            Kind::Continue => self.loop_control("{{continue}}", Node::Continue)?,
            Kind::If => Node::If(self.branch("if")?),
            Kind::Range => Node::Range(self.branch("range")?),
            Kind::With => Node::With(self.branch("with")?),
            Kind::Template => self.invocation()?,
            _ => {
                self.backup();
                let pos = self.peek().pos;
                Node::Action(Action { pos, pipe: self.pipeline("command", Kind::RightDelim)? })
            }
        };
        Ok(Item::Node(node))
    }

    fn loop_control(&mut self, action: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, action);
        }
        if self.scope.range_depth == 0 {
            return self.error(format_args!("{action} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn else_control(&mut self) -> Parsed<Item> {
        // The second word of `else if` is left to the branch.
        if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(Item::Ending(Ending::Else))
    }

    /// What follows `if`, `with` or `range`.
    fn branch(&mut self, context: &str) -> Parsed<Branch> {
        let variables = self.scope.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let looping = usize::from(context == "range");
        self.scope.range_depth += looping;
        let (list, ending) = self.list()?;
        self.scope.range_depth -= looping;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.otherwise(context)?),
        };
        self.scope.variables.truncate(variables);
        Ok(Branch { pipe, list, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Parsed<List> {
        // One `end` closes the whole chain.
        let chained: Option<fn(Branch) -> Node> = match (context, self.peek().kind) {
            ("if", Kind::If) => Some(Node::If),
            ("with", Kind::With) => Some(Node::With),
            _ => None,
        };
        if let Some(node) = chained {
            self.next();
            let branch = self.nested(|parser| parser.branch(context))?;
            return Ok(List { nodes: vec![node(branch)] });
        }
        match self.list()? {
            (list, Ending::End) => Ok(list),
            (_, ending) => self.error(format_args!("expected end; found {}", ending.as_str())),
        }
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let list = self.scoped(|parser| parser.definition_body(CONTEXT))?;
        self.add(name.clone(), list)?;
        Ok(Node::Template(Invocation { pos: token.pos, name, pipe: Some(pipe) }))
    }

    fn invocation(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(Node::Template(Invocation { pos: token.pos, name, pipe }))
    }

    fn template_name(&self, token: &Token<'_>, context: &str) -> Parsed<String> {
        match token.kind {
            Kind::String | Kind::RawString => self.unquote(&token.text),
            _ => self.unexpected(token, context),
        }
    }

    fn unquote(&self, text: &str) -> Parsed<String> {
        go_unquote(text).map(Cow::into_owned).or_else(|error| self.error(error))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let pos = self.peek_non_space().pos;
        let mut pipe = Pipe { pos, assign: false, declared: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// Variables that the pipeline declares or sets. A variable that it begins with and that is
    /// neither is put back, with the space after it.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        while self.peek_non_space().kind == Kind::Variable {
            let variable = self.next();
            let after = self.peek();
            let next = self.peek_non_space();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assign = next.kind == Kind::Assign;
                    self.next_non_space();
                    self.declare(pipe, &variable);
                    return Ok(());
                }
                Kind::Char if next.text == "," => {
                    self.next_non_space();
                    self.declare(pipe, &variable);
                    if context != "range" || pipe.declared.len() >= 2 {
                        return self.error(format_args!("too many declarations in {context}"));
                    }
                    let follows = self.peek_non_space().kind;
                    if !matches!(follows, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ if after.kind == Kind::Space => {
                    (self.tokens[1], self.tokens[2]) = (after, variable);
                    self.peeked = 3;
                    return Ok(());
                }
                _ => {
                    self.tokens[1] = variable;
                    self.peeked = 2;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn declare(&mut self, pipe: &mut Pipe, variable: &Token<'_>) {
        pipe.declared.push(variable.text.to_string());
        self.scope.variables.push(variable.text.to_string());
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format_args!("missing value for {context}"));
        }
        let constant = |command: &Command| {
            command.operands.first().is_some_and(|operand| operand.kind.is_constant())
        };
        match pipe.commands.iter().skip(1).position(constant) {
            Some(at) => {
                self.error(format_args!("non executable command in pipeline stage {}", at + 2))
            }
            None => Ok(()),
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let pos = self.peek_non_space().pos;
        let mut operands = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.backup(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if operands.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { pos, operands })
    }

    /// A term and the fields after it.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text.trim_start_matches('.').to_owned());
        }
        let kind = match term.kind {
            OperandKind::Field(mut all) => {
                all.append(&mut names);
                OperandKind::Field(all)
            }
            OperandKind::Variable(mut all) => {
                all.append(&mut names);
                OperandKind::Variable(all)
            }
            kind if kind.is_constant() => {
                let term = Operand { pos: term.pos, kind };
                return self.error(format_args!(
                    "unexpected . after term {}",
                    go_quote(&term.to_string())
                ));
            }
            kind => OperandKind::Chain(Box::new(Operand { pos: term.pos, kind }), names),
        };
        Ok(Some(Operand { pos: first.pos, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.next_non_space();
        let text = || token.text.to_string();
        let kind = match token.kind {
            Kind::Identifier if !self.functions.contains(token.text.as_ref()) => {
                return self.error(format_args!("function {} not defined", go_quote(&token.text)));
            }
            Kind::Identifier => OperandKind::Identifier(text()),
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable if !self.scope.variables.iter().any(|name| *name == token.text) => {
                return self.error(format_args!("undefined variable {}", go_quote(&token.text)));
            }
            Kind::Variable => OperandKind::Variable(vec![text()]),
            Kind::Field => OperandKind::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::CharConstant => {
                OperandKind::Number(Number::from_char(&token.text).or_else(|e| self.error(e))?)
            }
            Kind::Complex | Kind::Number => {
                OperandKind::Number(Number::parse(&token.text).or_else(|e| self.error(e))?)
            }
            Kind::LeftParen => {
                let pipe = self
                    .nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?;
                // A pipeline's place is that of its first token, as in Go.
                return Ok(Some(Operand {
                    pos: pipe.pos,
                    kind: OperandKind::Pipe(Box::new(pipe)),
                }));
            }
            Kind::String | Kind::RawString => {
                OperandKind::String(text(), self.unquote(&token.text)?)
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Operand { pos: token.pos, kind }))
    }
}
