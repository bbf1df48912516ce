//! `check config` beside the real promtool: the same verdict on every configuration that there is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn folder(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        skipped(&format!("set {variable}"));
    }
    found
}

fn check(program: &Path, arguments: &[&str], file: &Path) -> Output {
    Command::new(program).args(["check", "config"]).args(arguments).arg(file).output().unwrap()
}

fn ours(arguments: &[&str], file: &Path) -> (Option<i32>, String, String) {
    let output = check(Path::new(env!("CARGO_BIN_EXE_firetool")), arguments, file);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn configurations(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders =
        vec![root.join("config"), root.join("real/configs-operator"), root.join("setups")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// Why the real promtool, of Prometheus 3.5, judges otherwise: rules of 3.14.
fn newer_than_promtool(name: &str, theirs: &str, ours: &str) -> bool {
    let new_key = theirs.contains("not found in type") && ours.is_empty();
    new_key
        // The sizes of queues are checked since 3.11.
        || ours.contains("remote write queue")
        // Pods may be selected by their nodes since 3.6.
        || name.ends_with("kubernetes_selectors_pod.good.yml")
        // The escaping follows the job's own validation scheme since 3.6.
        || name.ends_with("scrape_config_local_infer_escaping.yml")
}

#[test]
fn judges_as_promtool_does() {
    let Some(root) = folder("FIRESTEEL_CONFORMANCE") else { return };
    let Some(promtool) = folder_of_peers() else { return };
    let (mut same, mut newer, mut wrong) = (0, 0, Vec::new());
    for (i, file) in configurations(&root).into_iter().enumerate() {
        // Flags take turns: each file is looked at with none, and every third with one of them.
        let flags = [&["--syntax-only"][..], &["--agent"]].into_iter().enumerate();
        let turns = flags.filter(|(n, _)| i % 3 == *n).map(|(_, flags)| flags);
        for arguments in std::iter::once(&[][..]).chain(turns) {
            let theirs = check(&promtool, arguments, &file);
            let (status, _, ours) = ours(arguments, &file);
            let reason = String::from_utf8_lossy(&theirs.stderr).into_owned();
            if theirs.status.code() == status {
                same += 1;
            } else if newer_than_promtool(&file.to_string_lossy(), &reason, &ours) {
                newer += 1;
            } else {
                wrong.push(format!("{} {arguments:?}: {reason} / {ours}", file.display()));
            }
        }
    }
    println!("{same} verdicts are the same, {newer} are by rules newer than promtool's");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same > 500, "only {same}");
}

#[test]
fn looks_at_what_a_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("prometheus.yml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();

    write("scrape_configs: [{job_name: a, bearer_token_file: token}]\n");
    let (status, out, error) = ours(&[], &file);
    assert_eq!(status, Some(1));
    assert_eq!(out, format!("Checking {}\n\n", file.display()));
    let token = path("token");
    assert_eq!(
        error,
        format!(
            "  FAILED: error checking authorization credentials or bearer token file \"{token}\": \
             stat {token}: no such file or directory\n"
        )
    );
    assert_eq!(ours(&["--syntax-only"], &file).0, Some(0));
    fs::write(folder.join("token"), "x").unwrap();
    let (status, out, error) = ours(&[], &file);
    let success = format!(
        "Checking {0}\n SUCCESS: {0} is valid prometheus config file syntax\n\n",
        file.display()
    );
    assert_eq!((status, out, error.as_str()), (Some(0), success, ""));

    for (text, expected) in [
        (
            "tls_config: {cert_file: c, key_file: k}",
            format!("error checking client cert file \"{0}\": stat {0}: no such", path("c")),
        ),
        ("file_sd_configs: [{files: [bad.json]}]", "checking SD file".to_owned()),
        (
            "static_configs: [{targets: [a]}], relabel_configs: [{target_label: __address__, \
             replacement: ''}]",
            "instance 0 in group 0: no address".to_owned(),
        ),
    ] {
        fs::write(folder.join("bad.json"), "{}").unwrap();
        write(&format!("scrape_configs: [{{job_name: a, {text}}}]\n"));
        let (status, _, error) = ours(&[], &file);
        assert!(status == Some(1) && error.contains(&expected), "{error}");
    }
    write("rule_files: [none.yml]\n");
    let (status, _, error) = ours(&[], &file);
    let expected = format!("\"{}\" does not point to an existing file", path("none.yml"));
    assert!(status == Some(1) && error.contains(&expected), "{error}");
    write("rule_files: ['*.rules']\n");
    let rules = folder.join("a.rules");
    let rule = "{record: a, expr: up}";
    fs::write(&rules, format!("groups: [{{name: g, rules: [{rule}]}}]")).unwrap();
    let (status, out, _) = ours(&[], &file);
    let expected = format!(
        "Checking {0}\n  SUCCESS: 1 rule files found\n SUCCESS: {0} is valid prometheus config file \
         syntax\n\nChecking {1}\n  SUCCESS: 1 rules found\n\n",
        file.display(),
        rules.display()
    );
    assert_eq!((status, out), (Some(0), expected));
    fs::write(&rules, format!("groups: [{{name: g, rules: [{rule}, {rule}]}}]")).unwrap();
    let (status, _, error) = ours(&[], &file);
    assert!(status == Some(0) && error.contains("1 duplicate rule(s) found"), "{error}");
    assert_eq!(ours(&["--lint-fatal"], &file).0, Some(3));
    assert_eq!(ours(&["--lint-fatal", "--lint=none"], &file).0, Some(0));
    fs::write(&rules, "groups: [{name: g, rules: [{record: a, expr: '('}]}]").unwrap();
    assert_eq!(ours(&[], &file).0, Some(1));
    assert_eq!(ours(&["--syntax-only"], &file).0, Some(0));
    write("scrape_configs: [{job_name: a, file_sd_configs: [{files: [none/*.yml]}]}]\n");
    let (status, out, _) = ours(&[], &file);
    let expected = format!(
        "  WARNING: file \"{}\" for file_sd in scrape job \"a\" does not exist\n",
        path("none/*.yml")
    );
    assert!(status == Some(0) && out.contains(&expected), "{out}");
    write("scrape_config_files: [more.yml]\n");
    fs::write(folder.join("more.yml"), "scrape_configs: [{}]\n").unwrap();
    assert_eq!(ours(&[], &file).0, Some(1));
    assert_eq!(ours(&["--syntax-only"], &file).0, Some(0));
}

#[test]
fn lints_and_strictness_have_their_statuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "scrape_configs: [{job_name: a, scrape_interval: 5m}]\n").unwrap();
    assert_eq!(ours(&[], &file).0, Some(0));
    let (status, _, error) = ours(&["--lint=all"], &file);
    let expected = "  FAILED: too long scrape interval found, data point will be marked as stale - \
                    job: a, interval: 5m\n";
    assert_eq!((status, error.as_str()), (Some(0), expected));
    assert_eq!(ours(&["--lint=all", "--lint-fatal"], &file).0, Some(3));
    assert_eq!(ours(&["--lint=none", "--lint-fatal"], &file).0, Some(0));
    let longer = ["--lint=all", "--lint-fatal", "--query.lookback-delta=6m"];
    assert_eq!(ours(&longer, &file).0, Some(0));
    assert!(ours(&["--lint=x"], &file).1.starts_with("WARNING: unknown lint option: \"x\"\n"));

    fs::write(&file, "storage: {tsdb: {retention.time: 30d}}\n").unwrap();
    let (status, out, _) = ours(&[], &file);
    assert!(status == Some(0) && out.contains("WARNING: ") && out.contains("time: 30d"), "{out}");
    let (status, _, error) = ours(&["--compat=prometheus"], &file);
    assert!(status == Some(1) && error.contains("field retention.time not found"), "{error}");

    // Several files, of which one is wrong.
    let good = folder.path().join("good.yml");
    fs::write(&good, "").unwrap();
    let (status, out, _) = ours(&["--compat=prometheus", good.to_str().unwrap()], &file);
    assert!(status == Some(1) && out.contains("good.yml is valid prometheus config"), "{out}");
}

/// Files of `--web.config.file`: what is wrong, if anything, in exporter-toolkit's words.
const WEB: &[(&str, &str)] = &[
    ("", ""),
    ("basic_auth_users: {me: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}", ""),
    ("basic_auth_users: {me: secret}", "hashedSecret too short to be a bcrypted password"),
    ("tls_server_config: {cert_file: server.pem, key_file: server.key}", ""),
    ("tls_server_config: {cert_file: server.pem}", "missing one of key or key_file"),
    ("tls_server_config: {key_file: server.key}", "missing one of cert or cert_file"),
    ("tls_server_config: {client_auth_type: NoClientCert}", "missing one of cert or cert_file"),
    ("tls_server_config: {cert_file: none, key_file: server.key}", "no such file or directory"),
    ("tls_server_config: {cert_file: server.pem, key_file: none}", "no such file or directory"),
    (
        "tls_server_config: {cert_file: server.pem, key_file: other.key}",
        "failed to load X509KeyPair",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: none, \
         client_auth_type: RequireAndVerifyClientCert}",
        "no such file or directory",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}",
        "client CA's have been configured without a Client Auth Policy",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: X}",
        "invalid ClientAuth: X",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [X]}",
        "unknown cipher: X",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [X]}",
        "unknown curve: X",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS9}",
        "unknown TLS version: TLS9",
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: \
         [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], curve_preferences: [X25519, CurveP521], \
         min_version: TLS10, client_allowed_sans: [a], prefer_server_cipher_suites: false}",
        "",
    ),
    ("http_server_config: {http2: false, headers: {X-Frame-Options: deny}}", ""),
    (
        "http_server_config: {headers: {X-Frame-Options: DENY}}",
        "invalid value for X-Frame-Options. Expected one of: [\"deny\" \"sameorigin\"], but got: \
         \"DENY\"",
    ),
    ("http_server_config: {headers: {Server: x}}", "HTTP header \"Server\" can not be configured"),
    ("tls_server_confg: {}", "field tls_server_confg not found in type web.Config"),
    ("rate_limit: {interval: 1s, burst: 5}", ""),
];

#[test]
fn judges_web_configurations_as_promtool_does() {
    let folder = tempfile::tempdir().unwrap();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/net/testdata");
    for name in ["ca.pem", "server.pem", "server.key"] {
        fs::copy(testdata.join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(testdata.join("client.key"), folder.path().join("other.key")).unwrap();
    let promtool = folder_of_peers();
    let file = folder.path().join("web.yml");
    let run = |program: &Path| {
        let output = Command::new(program).args(["check", "web-config"]).arg(&file).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (text, expected) in WEB {
        fs::write(&file, text).unwrap();
        let (status, said) = run(Path::new(env!("CARGO_BIN_EXE_firetool")));
        assert_eq!(status, Some(i32::from(!expected.is_empty())), "{text}: {said}");
        if expected.is_empty() {
            assert_eq!(said, format!("{} SUCCESS\n", file.display()));
        } else {
            let start = format!("{} FAILED: ", file.display());
            assert!(said.starts_with(&start) && said.contains(expected), "{text}: {said}");
        }
        // Older than the limit of requests.
        if let Some(promtool) = promtool.as_ref().filter(|_| !text.contains("rate_limit")) {
            let (theirs, said) = run(promtool);
            assert_eq!(theirs, status, "{text}: {said}");
            assert!(said.contains(expected), "{text}: {said} has no {expected}");
        }
    }
}

fn folder_of_peers() -> Option<PathBuf> {
    folder("FIRESTEEL_PEERS").map(|peers| peers.join("promtool"))
}

/// Says that something was not tested; the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
