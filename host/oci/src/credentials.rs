//! Who calls: names and passwords from Docker's configuration file.
//!
//! Only what stands in `auths` is read. Credential helpers are programs that would be run with what the caller may do; none is
//! asked, and a registry that refuses is told together with the helper that would have known.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde::Deserialize;

use crate::error::OciError;

/// Names and passwords by registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Goes before the file.
    given: Option<Login>,
    logins: BTreeMap<String, Login>,
    /// Registries whose password a program keeps; under an empty name, the one for all others.
    helpers: BTreeMap<String, String>,
    file: PathBuf,
}

/// A name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

// === impl Credentials ===

impl Credentials {
    /// These, for whatever registry is asked.
    #[must_use]
    pub fn given(user: String, password: String) -> Self {
        Self { given: Some(Login { user, password }), ..Self::default() }
    }

    /// Those of Docker's file: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. None if there is no such file.
    ///
    /// # Errors
    /// [`OciError::Credentials`]: it cannot be read.
    pub fn of_docker() -> Result<Self, OciError> {
        let folder = match std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()) {
            Some(folder) => Some(PathBuf::from(folder)),
            None => std::env::home_dir().map(|home| home.join(".docker")),
        };
        folder.map_or_else(|| Ok(Self::default()), |folder| Self::read(&folder.join("config.json")))
    }

    /// Those of a file in Docker's format. None if there is no such file.
    ///
    /// # Errors
    /// [`OciError::Credentials`]: it cannot be read.
    pub fn read(file: &Path) -> Result<Self, OciError> {
        let bad = |why: String| OciError::Credentials { file: file.to_owned(), why };
        let text = match std::fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(|error| bad(error.to_string()))?,
        };
        // Its errors show no text of the file, which has passwords.
        let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| {
            bad(format!("line {}, column {} is not as expected", error.line(), error.column()))
        })?;
        let mut logins = BTreeMap::new();
        for (registry, auth) in config.auths {
            if let Some(login) = auth.login().map_err(|why| bad(format!("{registry}: {why}")))? {
                logins.insert(host(&registry).to_owned(), login);
            }
        }
        let mut helpers: BTreeMap<String, String> = config
            .cred_helpers
            .into_iter()
            .map(|(at, name)| (host(&at).to_owned(), name))
            .collect();
        helpers.extend(config.creds_store.map(|name| (String::new(), name)));
        Ok(Self { given: None, logins, helpers, file: file.to_owned() })
    }

    /// The login for a registry; without one, nobody says who calls.
    #[must_use]
    pub fn of(&self, registry: &str) -> Option<&Login> {
        self.given.as_ref().or_else(|| self.logins.get(registry))
    }

    /// What to add to a refusal: which helper would have known.
    pub(crate) fn hint(&self, registry: &str) -> String {
        if self.of(registry).is_some() {
            return "are name and password right?".to_owned();
        }
        let helper = self.helpers.get(registry).or_else(|| self.helpers.get(""));
        helper.map_or_else(
            || "nobody said who calls: give a name and a password, or `docker login` first".to_owned(),
            |helper| {
                format!(
                    "{} leaves {registry} to the credential helper {helper:?}, which is not asked: give a name and a password",
                    self.file.display()
                )
            },
        )
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("of", &self.logins.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

// === impl Auth ===

impl Auth {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if self.auth.is_empty() {
            let login = Login { user: self.username, password: self.password };
            return Ok((!login.user.is_empty()).then_some(login));
        }
        let decoded = BASE64.decode(self.auth.trim().as_bytes()).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or("its `auth` is not base64 of a text")?;
        // Some writers end it with NULs.
        let (user, password) =
            text.trim_end_matches('\0').split_once(':').ok_or("its `auth` has no colon")?;
        Ok(Some(Login { user: user.to_owned(), password: password.to_owned() }))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

/// Docker's keys are hosts, some with a scheme and a path: `https://index.docker.io/v1/`.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Credentials, OciError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        Credentials::read(&file)
    }

    #[test]
    fn names_and_passwords_come_from_auths() {
        let auth = BASE64.encode(b"olga:open:sesame");
        let credentials = read(&format!(
            r#"{{"auths": {{"https://r.example/v1/": {{"auth": "{auth}"}}, "127.0.0.1:5000": {{"username": "a", "password": "b"}}, "empty.example": {{}}}}, "HttpHeaders": {{}}}}"#
        ))
        .unwrap();
        let login = credentials.of("r.example").unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("olga", "open:sesame"));
        assert_eq!(credentials.of("127.0.0.1:5000").unwrap().user, "a");
        assert!(credentials.of("empty.example").is_none() && credentials.of("x.example").is_none());
        assert!(!format!("{credentials:?}{login:?}").contains("sesame"));
        let given = Credentials::given("me".to_owned(), "pw".to_owned());
        assert_eq!(given.of("r.example").unwrap().user, "me");
    }

    #[test]
    fn a_helper_is_named_and_not_asked() {
        let credentials = read(
            r#"{"credsStore": "desktop", "credHelpers": {"r.example": "ecr-login"}, "auths": {"r.example": {}}}"#,
        )
        .unwrap();
        assert!(credentials.hint("r.example").contains("helper \"ecr-login\", which is not asked"));
        assert!(credentials.hint("other.example").contains("helper \"desktop\""));
        assert!(Credentials::default().hint("r.example").contains("docker login"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_without_its_passwords() {
        let error =
            read(r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#).unwrap_err().to_string();
        assert!(error.contains("r.example: its `auth` has no colon"), "{error}");
        assert!(!error.contains("c2VjcmV0") && !error.contains("secret"), "{error}");
        let error = read(r#"{"auths": {"r.example": "hunter2"}}"#).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        assert!(Credentials::read(Path::new("/no/such/file")).unwrap().logins.is_empty());
    }
}
