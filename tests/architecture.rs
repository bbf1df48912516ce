//! Which crate may use which, and how many crates each may bring along.
//!
//! Arrows run one way, so that storage, language and formats can be used alone and change alone.
//! Dev-dependencies are free.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Which of the others a crate may use.
enum Uses {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// What each crate under `crates/` may use of the others.
const ARROWS: &[(&str, Uses)] = &[
    ("model", Uses::Only(&[])),
    ("chunk", Uses::Only(&["model"])),
    ("exposition", Uses::Only(&["model"])),
    ("promql", Uses::Only(&["model"])),
    ("config", Uses::Only(&["model"])),
    ("tsdb", Uses::Only(&["model", "chunk"])),
    ("net", Uses::Only(&["model", "config"])),
    ("discovery", Uses::Only(&["model", "config", "net"])),
    ("scrape", Uses::Only(&["model", "config", "net", "discovery", "exposition"])),
    ("rules", Uses::Only(&["model", "config", "net", "discovery", "promql"])),
    ("remote", Uses::Only(&["model", "config", "net"])),
    ("api", Uses::AllBut(&["tsdb", "server", "firesteel"])),
    ("server", Uses::AllBut(&["firesteel"])),
    ("firesteel", Uses::AllBut(&[])),
];

impl Uses {
    fn allows(&self, folder: &str) -> bool {
        match self {
            Self::Only(allowed) => allowed.contains(&folder),
            Self::AllBut(refused) => !refused.contains(&folder),
        }
    }
}

/// How many crates each may consist of, itself included, with its default features.
const WEIGHTS: &[(&str, usize)] = &[
    ("model", 10),
    ("chunk", 6),
    ("exposition", 12),
    ("promql", 25),
    ("tsdb", 40),
    ("scrape", 120),
];

/// These run without an async runtime.
const SYNCHRONOUS: &[&str] = &["model", "chunk", "exposition", "promql", "tsdb"];
const RUNTIMES: &[&str] = &["tokio", "hyper", "async-std", "smol"];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ lies in the workspace").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {errors}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// A crate under `crates/`.
struct Member {
    /// The package's name.
    package: String,
    /// Names of the packages that it uses, optional ones too, development aside.
    uses: Vec<String>,
}

/// The crates under `crates/`, by folder.
fn members() -> BTreeMap<String, Member> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let mut members = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().expect("a manifest lies in a folder");
        if folder.parent() != Some(&root().join("crates")) {
            continue;
        }
        let folder = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        let uses = dependencies.iter().filter(|d| d["kind"] != "dev").map(|d| text(&d["name"]));
        members.insert(folder, Member { package: text(&package["name"]), uses: uses.collect() });
    }
    assert!(members.contains_key("model"), "the workspace was not found");
    members
}

/// Names and versions of the crates that a package consists of.
fn tree(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none"]);
    let crates = tree.lines().filter(|line| !line.is_empty());
    crates.map(|line| line.split(" (").next().unwrap_or(line).to_owned()).collect()
}

#[test]
fn arrows_run_one_way() {
    let members = members();
    let by_package: BTreeMap<_, _> =
        members.iter().map(|(folder, member)| (member.package.as_str(), folder)).collect();
    for (folder, member) in &members {
        let allowed = ARROWS.iter().find(|(name, _)| name == folder).map(|(_, uses)| uses);
        let allowed = allowed.unwrap_or_else(|| panic!("crates/{folder} has no place in ARROWS"));
        for used in member.uses.iter().filter_map(|name| by_package.get(name.as_str())) {
            assert!(allowed.allows(used), "{folder} must not use {used}");
        }
    }
}

#[test]
fn packages_are_named_after_their_folders() {
    for (folder, member) in members().iter().filter(|(folder, _)| *folder != "firesteel") {
        assert_eq!(member.package, format!("firesteel-{folder}"));
    }
}

#[test]
fn weights_are_kept() {
    let members = members();
    for (folder, limit) in WEIGHTS {
        let Some(member) = members.get(*folder) else { continue };
        let tree = tree(&member.package);
        println!("{folder}: {} of {limit} crates", tree.len());
        assert!(tree.len() <= *limit, "{folder}: {} > {limit} crates: {tree:#?}", tree.len());
    }
}

#[test]
fn storage_language_and_formats_know_no_runtime() {
    let members = members();
    for folder in SYNCHRONOUS {
        let Some(member) = members.get(*folder) else { continue };
        for used in tree(&member.package) {
            let name = used.split(' ').next().unwrap_or_default();
            assert!(!RUNTIMES.contains(&name), "{folder} must not use {used}");
        }
    }
}
