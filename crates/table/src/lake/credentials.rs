//! Keys from a credentials file, as the AWS tools write it, read anew for each request.
//!
//! So whoever renews the keys there (a vault's agent, a mounted secret, `aws configure`) need not
//! restart anything. Reading a few hundred bytes costs nothing beside the request they sign.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

const DEFAULT_PROFILE: &str = "default";

/// One profile of a credentials file.
#[derive(Debug)]
pub struct CredentialsFile {
    path: PathBuf,
    profile: String,
}

/// Why a file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("credentials file {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What happened.
        reason: String,
    },
    /// It has no such profile, or one without keys.
    #[error(
        "credentials file {path} has no aws_access_key_id and aws_secret_access_key under [{profile}]; \
         sources of keys other than the file itself (a role, SSO, a process) are not followed"
    )]
    NoKeys {
        /// The file.
        path: String,
        /// The profile.
        profile: String,
    },
}

impl CredentialsFile {
    /// `profile`, else the one named `default`, of the file at `path`.
    #[must_use]
    pub fn new(path: PathBuf, profile: Option<&str>) -> Self {
        Self { path, profile: profile.unwrap_or(DEFAULT_PROFILE).to_owned() }
    }

    /// The keys that stand there now.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn read(&self) -> Result<AwsCredential, CredentialsError> {
        let path = || self.path.display().to_string();
        let text = fs::read_to_string(&self.path)
            .map_err(|error| CredentialsError::Unreadable { path: path(), reason: error.to_string() })?;
        keys_of(&text, &self.profile)
            .ok_or_else(|| CredentialsError::NoKeys { path: path(), profile: self.profile.clone() })
    }
}

#[async_trait]
impl CredentialProvider for CredentialsFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read()
            .map(Arc::new)
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

/// The keys under `[profile]`. Lines are `name = value`, comments begin with `#` or `;`.
fn keys_of(text: &str, profile: &str) -> Option<AwsCredential> {
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut is_ours = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.split(']').next().map(str::trim) == Some(profile);
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_ours) else { continue };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# made by hand\n[default]\naws_access_key_id = one\naws_secret_access_key=a=b\n\n\
        [ work ]\naws_access_key_id=two\naws_secret_access_key = c\naws_session_token = t\nregion = x\n\
        [empty]\naws_access_key_id =\naws_secret_access_key = d\n";

    #[test]
    fn each_profile_has_its_own_keys() {
        let one = keys_of(TEXT, "default").unwrap();
        assert_eq!((&*one.key_id, &*one.secret_key, one.token), ("one", "a=b", None));
        let two = keys_of(TEXT, "work").unwrap();
        assert_eq!((&*two.key_id, &*two.secret_key, two.token.as_deref()), ("two", "c", Some("t")));
    }

    #[test]
    fn a_profile_without_keys_gives_none() {
        assert!(keys_of(TEXT, "empty").is_none());
        assert!(keys_of(TEXT, "other").is_none());
        assert!(keys_of("", "default").is_none());
    }

    #[tokio::test]
    async fn what_is_written_there_later_is_what_the_next_request_gets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys = CredentialsFile::new(file.path().to_owned(), None);
        assert!(keys.get_credential().await.is_err());
        for id in ["first", "second"] {
            let text = format!("[default]\naws_access_key_id={id}\naws_secret_access_key=s\n");
            fs::write(file.path(), text).unwrap();
            assert_eq!(keys.get_credential().await.unwrap().key_id, id);
        }
    }
}
