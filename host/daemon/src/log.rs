//! The log on standard error.

use anyhow::{Context as _, bail};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Log, LogFormat};

pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = filter(&log.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// The filter that `log.level` means.
pub(crate) fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    // A word alone is a level here. The reader of filters takes a misspelt one for the name of a module, and shows nothing else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    for part in level.split(',') {
        if !part.contains(['=', '[', ']']) && !is_level(part) {
            bail!(
                "log.level is {level:?}, and {part:?} is none of off, error, warn, info, debug, trace; for one module write MODULE=LEVEL"
            );
        }
    }
    EnvFilter::try_new(level).with_context(|| format!("log.level is {level:?}, which is no filter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read_and_a_misspelt_one_is_named() {
        for level in
            ["info", "WARN", "off", "info,tenure_engine=debug", "warn,tenure_cni[add]=trace"]
        {
            assert!(filter(level).is_ok(), "{level}");
        }
        for (level, said) in [
            ("loud", "\"loud\" is none of off, error"),
            ("", "\"\" is none of off, error"),
            ("info,loud", "\"loud\" is none of"),
            ("info,tenure_engine=loud", "\"info,tenure_engine=loud\", which is no filter"),
        ] {
            let text = filter(level).unwrap_err().to_string();
            assert!(text.starts_with("log.level is") && text.contains(said), "{text}");
        }
    }
}
