//! App names and their ids. Ids are handed out in order and never change their meaning.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::AppId;

/// Names to ids and back. It only grows: an id, once given, keeps its name. A copy costs nothing until it grows: a server has one of
/// each person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    shared: Arc<Names>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    names: Vec<String>,
    ids: HashMap<String, AppId>,
}

impl Vocabulary {
    /// An empty vocabulary.
    pub fn new() -> Self {
        Self::default()
    }

    /// The vocabulary whose id `i` is the `i`-th of `names`. A repeated name keeps its first id.
    pub fn from_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut vocabulary = Self::new();
        for name in names {
            vocabulary.intern(name.as_ref());
        }
        vocabulary
    }

    /// The id of `name`, given now if it has none yet.
    pub fn intern(&mut self, name: &str) -> AppId {
        if let Some(id) = self.id(name) {
            return id;
        }
        let Names { names, ids } = Arc::make_mut(&mut self.shared);
        let id = AppId(u32::try_from(names.len()).unwrap_or(u32::MAX));
        names.push(name.to_owned());
        ids.insert(name.to_owned(), id);
        id
    }

    /// The id of `name`, if it has one.
    pub fn id(&self, name: &str) -> Option<AppId> {
        self.shared.ids.get(name).copied()
    }

    /// The name of `app`; `"?"` for an id of another vocabulary.
    pub fn name(&self, app: AppId) -> &str {
        self.shared.names.get(app.0 as usize).map_or("?", String::as_str)
    }

    /// All names, in id order.
    pub fn names(&self) -> &[String] {
        &self.shared.names
    }

    /// How many apps it names.
    pub fn len(&self) -> usize {
        self.shared.names.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.shared.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_without_renumbering() {
        let mut vocabulary = Vocabulary::from_names(["Maps", "Mail"]);
        assert_eq!(vocabulary.intern("Maps"), AppId(0));
        assert_eq!(vocabulary.intern("Chat"), AppId(2));
        assert_eq!(vocabulary.id("Mail"), Some(AppId(1)));
        assert_eq!(vocabulary.name(AppId(2)), "Chat");
        assert_eq!(vocabulary.name(AppId(9)), "?");
        // A copy that grows leaves the other as it was.
        let mut copy = vocabulary.clone();
        assert_eq!((copy.intern("Chat"), copy.intern("Camera")), (AppId(2), AppId(3)));
        assert_eq!((vocabulary.len(), vocabulary.id("Camera")), (3, None));
    }
}
