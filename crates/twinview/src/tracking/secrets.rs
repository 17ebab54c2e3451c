//! Keeping keys and tokens out of what is logged.

use std::path::PathBuf;

/// What must not be logged: the values of environment variables that are named like secrets, and the passwords of
/// `~/.netrc`, where `wandb login` puts its key.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

/// Parts of names, between underscores, that variables with secrets have.
const NAMES: [&str; 8] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS", "APIKEY", "PAT"];
/// Shorter values are no secrets, and may stand anywhere.
const SHORTEST: usize = 8;

impl Secrets {
    /// Those that this process knows of.
    pub(super) fn known() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let netrc = netrc_path().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        Self::of(variables, &netrc)
    }

    fn of(variables: impl Iterator<Item = (String, String)>, netrc: &str) -> Self {
        let is_secret = |name: &str| name.to_uppercase().split('_').any(|part| NAMES.contains(&part));
        let mut secrets: Vec<String> = variables.filter(|(name, _)| is_secret(name)).map(|(_, value)| value).collect();
        let words: Vec<&str> = netrc.split_whitespace().collect();
        secrets.extend(words.windows(2).filter(|pair| pair[0] == "password").map(|pair| pair[1].to_owned()));
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // A secret may be part of a longer one, which goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// `text` with `***` in the place of every secret, and of the user and password of every address.
    pub(super) fn scrub(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        let mut parts = text.split("://");
        let mut scrubbed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let host = part.find(|c: char| c.is_whitespace() || "/\"'".contains(c)).unwrap_or(part.len());
            let rest = match part[..host].rfind('@') {
                Some(at) => format!("***{}", &part[at..]),
                None => part.to_owned(),
            };
            scrubbed = format!("{scrubbed}://{rest}");
        }
        scrubbed
    }
}

/// The user's file of passwords.
pub(super) fn netrc_path() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".netrc"));
    std::env::var_os("NETRC").map(PathBuf::from).or_else(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_all_else_stays() {
        let variables = [
            ("WANDB_API_KEY", "0123456789abcdef"),
            ("mlflow_tracking_token", "0123456789abcdef-and-more"),
            ("KEYBOARD", "a layout"),
            ("DEBUG_KEY", "1"),
        ];
        let secrets = Secrets::of(
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())),
            "machine api.wandb.ai\n  login user\n  password from-netrc-file\n",
        );
        for (text, expected) in [
            ("--key 0123456789abcdef-and-more!", "--key ***!"),
            ("x0123456789abcdefx 1 a layout", "x***x 1 a layout"),
            ("p=from-netrc-file", "p=***"),
            ("https://me:word@host/path?x=a@b and s3://bucket", "https://***@host/path?x=a@b and s3://bucket"),
            ("http://a@b@host", "http://***@host"),
        ] {
            assert_eq!(secrets.scrub(text), expected);
        }
    }
}
