//! From arguments to values.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use clap::{Arg, ArgAction, Command};
use firesteel_model::duration;

use super::table::{FLAGS, Flag, FlagKind, Mode};

/// The flags' values: those given, and the defaults of the others.
#[derive(Clone, Debug)]
pub struct Flags {
    values: BTreeMap<&'static str, Vec<String>>,
    given: Vec<&'static str>,
}

/// Why the program does not start; how it exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagError {
    /// For standard error; help and version go to standard output.
    pub text: String,
    /// 0 for help and version, 2 for a wrong command line, 3 for flags of the other mode.
    pub exit_code: u8,
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// A flag is unknown, lacks its value or belongs to the other mode; or help was asked for.
pub fn parse(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    version: &'static str,
) -> Result<Flags, FlagError> {
    let args = from_files(args)?;
    let matches = command(version).try_get_matches_from(args).map_err(|error| FlagError {
        text: error.render().to_string(),
        exit_code: if error.use_stderr() { 2 } else { 0 },
    })?;
    let mut flags = Flags { values: BTreeMap::new(), given: Vec::new() };
    for flag in FLAGS {
        let given = match flag.kind {
            FlagKind::Bool => bool_value(&matches, flag.name).map(|b| vec![b.to_string()]),
            FlagKind::Value | FlagKind::List => {
                matches.get_many::<String>(flag.name).map(|all| all.cloned().collect())
            }
        };
        if given.is_some() {
            flags.given.push(flag.name);
        }
        let default = || {
            if flag.default.is_empty() { Vec::new() } else { vec![flag.default.to_owned()] }
        };
        flags.values.insert(flag.name, given.unwrap_or_else(default));
    }
    flags.check_mode()?;
    Ok(flags)
}

/// Puts the lines of `file` in the place of an argument `@file`, as kingpin does.
fn from_files(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Vec<OsString>, FlagError> {
    let mut all = Vec::new();
    for (i, arg) in args.into_iter().enumerate() {
        let arg = arg.into();
        let Some(file) = arg.to_str().and_then(|arg| arg.strip_prefix('@')).filter(|_| i > 0)
        else {
            all.push(arg);
            continue;
        };
        let text = std::fs::read_to_string(file).map_err(|error| FlagError {
            text: format!("Error parsing command line arguments: open {file}: {error}\n"),
            exit_code: 2,
        })?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        all.extend(lines.map(OsString::from));
    }
    Ok(all)
}

fn bool_value(matches: &clap::ArgMatches, name: &'static str) -> Option<bool> {
    let last = |id: &str| {
        let given = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        given.then(|| matches.indices_of(id).and_then(|mut i| i.next_back()).unwrap_or(0))
    };
    match (last(name), last(&format!("no-{name}"))) {
        (None, None) => None,
        (on, off) => Some(on > off),
    }
}

fn command(version: &'static str) -> Command {
    let mut command = Command::new("firesteel")
        .version(version)
        .about("The Prometheus monitoring server, in Rust")
        .args_override_self(true);
    for flag in FLAGS {
        command = match flag.kind {
            FlagKind::Bool => {
                let no = format!("no-{}", flag.name);
                command
                    .arg(plain(flag).action(ArgAction::SetTrue))
                    .arg(Arg::new(no.clone()).long(no).hide(true).action(ArgAction::SetTrue))
            }
            FlagKind::Value => command.arg(plain(flag).action(ArgAction::Set).num_args(1)),
            FlagKind::List => command.arg(plain(flag).action(ArgAction::Append).num_args(1)),
        };
    }
    command
}

fn plain(flag: &Flag) -> Arg {
    let help = match flag.default {
        "" | "false" => flag.help.to_owned(),
        default => format!("{} [default: {default}]", flag.help),
    };
    Arg::new(flag.name).long(flag.name).help(help).allow_hyphen_values(flag.kind != FlagKind::Bool)
}

impl Flags {
    fn check_mode(&self) -> Result<(), FlagError> {
        let agent = self.bool("agent");
        let wrong = if agent { Mode::Server } else { Mode::Agent };
        let offending: Vec<_> = FLAGS
            .iter()
            .filter(|f| f.mode == wrong && self.given.contains(&f.name))
            .map(|f| format!("\"--{}\"", f.name))
            .collect();
        if offending.is_empty() {
            return Ok(());
        }
        let how =
            if agent { "can not be used in agent mode" } else { "can only be used in agent mode" };
        let text = format!("The following flag(s) {how}: [{}]\n", offending.join(" "));
        Err(FlagError { text, exit_code: 3 })
    }

    /// The flags that were given.
    #[must_use]
    pub fn given(&self) -> &[&'static str] {
        &self.given
    }

    /// All values of a flag.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a flag, empty where it has none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.all(name).last().map_or("", String::as_str)
    }

    /// Whether a flag without a value is on.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A number.
    ///
    /// # Errors
    /// It is none, or negative.
    pub fn number(&self, name: &str) -> Result<usize, FlagError> {
        self.text(name).parse().map_err(|_| self.wrong(name, "a number"))
    }

    /// A duration, `None` where the flag has no value.
    ///
    /// # Errors
    /// It is none.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, FlagError> {
        match self.text(name) {
            "" => Ok(None),
            text => duration::parse(text)
                .map(Some)
                .map_err(|_| self.wrong(name, "a duration such as 15d or 1h30m")),
        }
    }

    /// The error of a value that does not fit.
    #[must_use]
    pub fn wrong(&self, name: &str, expected: &str) -> FlagError {
        let text = self.text(name);
        let text = format!("error parsing --{name}: {text:?} is not {expected}\n");
        FlagError { text, exit_code: 2 }
    }

    /// Names and values as they were given, sorted.
    #[must_use]
    pub fn listing(&self) -> Vec<(String, String)> {
        let mut rows: Vec<_> =
            self.values.iter().map(|(n, v)| ((*n).to_owned(), v.join(","))).collect();
        rows.sort();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Flags, FlagError> {
        parse(std::iter::once("firesteel").chain(args.iter().copied()), "0")
    }

    #[test]
    fn defaults_values_lists_and_negations() {
        let flags = parsed(&[]).unwrap();
        assert_eq!(flags.text("storage.tsdb.path"), "data/");
        assert!(flags.bool("storage.tsdb.wal-compression") && !flags.bool("web.enable-lifecycle"));
        let flags = parsed(&[
            "--web.listen-address=:1",
            "--web.listen-address",
            ":2",
            "--no-storage.tsdb.wal-compression",
            "--web.enable-lifecycle",
            "--query.timeout=1m30s",
        ])
        .unwrap();
        assert_eq!(flags.all("web.listen-address"), [":1", ":2"]);
        assert!(!flags.bool("storage.tsdb.wal-compression") && flags.bool("web.enable-lifecycle"));
        assert_eq!(flags.duration("query.timeout").unwrap(), Some(Duration::from_secs(90)));
    }

    #[test]
    fn exit_codes_are_prometheus() {
        assert_eq!(parsed(&["--unknown"]).unwrap_err().exit_code, 2);
        assert_eq!(parsed(&["--help"]).unwrap_err().exit_code, 0);
        let wrong = parsed(&["--storage.agent.path=x"]).unwrap_err();
        assert_eq!(wrong.exit_code, 3);
        assert!(wrong.text.contains("can only be used in agent mode: [\"--storage.agent.path\"]"));
        let wrong = parsed(&["--agent", "--query.timeout=1m"]).unwrap_err();
        assert!(wrong.text.contains("can not be used in agent mode"));
    }

    #[test]
    fn arguments_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("args");
        std::fs::write(&file, "# of the unit\n--web.enable-lifecycle\n\n--query.timeout=1s\n")
            .unwrap();
        let flags = parsed(&[&format!("@{}", file.display()), "--log.level=warn"]).unwrap();
        assert!(flags.bool("web.enable-lifecycle"));
        assert_eq!((flags.text("query.timeout"), flags.text("log.level")), ("1s", "warn"));
        assert_eq!(parsed(&["@none"]).unwrap_err().exit_code, 2);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = FLAGS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
