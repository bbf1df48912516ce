//! Who may ask: names with bcrypt's hashes of passwords.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use firesteel_config::Secret;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// How many answers are remembered.
const MAX_REMEMBERED: usize = 100;

/// The hash that stands for users that are not there, so that asking for one takes as long as for
/// another. That of exporter-toolkit, of the password "fakepassword".
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// A name, the password given for it and the hash that it must have.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    name: String,
    password: Secret,
    hash: Secret,
    /// Whether there is such a user.
    exists: bool,
}

/// What is known at once.
pub(super) enum Answer {
    /// Whether the client may ask.
    Known(bool),
    /// The hash must be computed, by [`Users::ask`].
    Ask(Question),
}

/// Remembers answers, as bcrypt is slow on purpose.
pub(super) struct Users {
    remembered: Mutex<HashMap<Question, bool>>,
    /// One hash at a time, so that clients with wrong passwords do not take all processors.
    turn: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        Self { remembered: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

/// Name and password of a request, if it has any.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, Secret)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Secret::new(password)))
}

impl Users {
    /// Whether these may ask; everybody where there are no users.
    pub(super) fn look_up(
        &self,
        users: &BTreeMap<String, Secret>,
        credentials: Option<(String, Secret)>,
    ) -> Answer {
        if users.is_empty() {
            return Answer::Known(true);
        }
        let Some((name, password)) = credentials else { return Answer::Known(false) };
        let known = users.get(&name);
        let hash = known.cloned().unwrap_or_else(|| Secret::new(NOBODY));
        let question = Question { name, password, hash, exists: known.is_some() };
        match self.remembered.lock().get(&question) {
            Some(answer) => Answer::Known(*answer),
            None => Answer::Ask(question),
        }
    }

    /// Computes the hash, in turn with others.
    pub(super) async fn ask(&self, question: Question) -> bool {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        // Somebody before may have asked the same.
        if let Some(answer) = self.remembered.lock().get(&question) {
            return *answer;
        }
        let hashed = tokio::task::spawn_blocking(move || {
            let matches = bcrypt::verify(question.password.expose(), question.hash.expose());
            let answer = matches.unwrap_or(false) && question.exists;
            (question, answer)
        });
        let Ok((question, answer)) = hashed.await else { return false };
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            // Any will do: the map's order is random.
            let some: Vec<_> = remembered.keys().take(MAX_REMEMBERED / 10).cloned().collect();
            for question in some {
                remembered.remove(&question);
            }
        }
        remembered.insert(question, answer);
        drop(turn);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn credentials_are_read_as_go_reads_them() {
        let text = |value| credentials(&headers(value)).map(|(n, p)| format!("{n}|{}", p.expose()));
        assert_eq!(text("Basic YTpiOmM=").as_deref(), Some("a|b:c"));
        assert_eq!(text("bASIC YTo=").as_deref(), Some("a|"));
        for wrong in ["Bearer YTpi", "Basic YQ==", "Basic !", "Basic", ""] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn passwords_are_checked_and_answers_remembered() {
        let users = Users::default();
        // Of the cost 4, of the password "right".
        let hash = Secret::new(bcrypt_of("right"));
        let all = BTreeMap::from([("me".to_owned(), hash)]);
        for _ in 0..2 {
            for (name, password, expected) in
                [("me", "right", true), ("me", "wrong", false), ("you", "fakepassword", false)]
            {
                let given = Some((name.to_owned(), Secret::new(password)));
                let admitted = match users.look_up(&all, given) {
                    Answer::Known(known) => known,
                    Answer::Ask(question) => users.ask(question).await,
                };
                assert_eq!(admitted, expected, "{name} {password}");
            }
        }
        assert_eq!(users.remembered.lock().len(), 3);
        assert!(matches!(users.look_up(&all, None), Answer::Known(false)));
        assert!(matches!(users.look_up(&BTreeMap::new(), None), Answer::Known(true)));
        for i in 0..150 {
            let question = Question {
                name: i.to_string(),
                password: Secret::default(),
                hash: Secret::default(),
                exists: false,
            };
            assert!(!users.ask(question).await);
        }
        assert!(users.remembered.lock().len() <= MAX_REMEMBERED);
    }

    fn bcrypt_of(password: &str) -> String {
        bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
    }
}
