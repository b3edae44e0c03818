//! Reading fields of a JSON object with errors that name their path. `null` counts as absent.

use serde_json::{Map, Value};

use crate::error::Error;

/// An object of the configuration and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which stands at `path`.
    ///
    /// # Errors
    /// [`Error::Decode`] when it is no object.
    pub(crate) fn of(path: &'a str, value: &'a Value) -> Result<Self, Error> {
        let map = value.as_object().ok_or_else(|| Error::decode(path, "it must be an object"))?;
        Ok(Self { path, map })
    }

    /// `PATH.key`.
    pub(crate) fn path(self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn get(self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    pub(crate) fn text(self, key: &str) -> Result<Option<&'a str>, Error> {
        self.typed(key, "a text", Value::as_str)
    }

    pub(crate) fn flag(self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn whole(self, key: &str) -> Result<Option<u64>, Error> {
        self.typed(key, "a whole number", Value::as_u64)
    }

    pub(crate) fn list(self, key: &str) -> Result<Option<&'a Vec<Value>>, Error> {
        self.typed(key, "a list", Value::as_array)
    }

    /// A list of texts, each with its path.
    pub(crate) fn texts(self, key: &str) -> Result<Vec<(String, &'a str)>, Error> {
        let list = self.list(key)?.map(Vec::as_slice).unwrap_or_default();
        let with_path = list.iter().enumerate().map(|(index, value)| {
            let path = format!("{}[{index}]", self.path(key));
            match value.as_str() {
                Some(text) => Ok((path, text)),
                None => Err(Error::decode(path, "it must be a text")),
            }
        });
        with_path.collect()
    }

    fn typed<T>(
        self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::decode(self.path(key), format!("it must be {what}"))),
        }
    }
}
