//! Several sources as one: one loop folds and commits for all.
//!
//! A loop for each would be wrong: the store writes every person whose state changed, so a commit of one loop would write events
//! whose rows another loop has not brought to the lake yet, and after a crash these would be duplicates that the lake lacks. One
//! loop also makes one snapshot of the lake instead of several, and keeps one budget of bytes.

use async_trait::async_trait;
use foretap::Result;
use futures::future::select_all;

use super::{EventSource, Record};
use crate::lake::Positions;

/// Records of all sources, in turn where several have some.
pub struct Merged {
    sources: Vec<Box<dyn EventSource>>,
    /// Which is asked first.
    turn: usize,
}

impl Merged {
    /// Of at least one source.
    pub fn new(sources: Vec<Box<dyn EventSource>>) -> Self {
        Self { sources, turn: 0 }
    }
}

#[async_trait]
impl EventSource for Merged {
    async fn next(&mut self, budget: usize) -> Result<Vec<Record>> {
        let count = self.sources.len();
        // The first of those that are ready is taken: the one that gave last is asked last.
        self.sources.rotate_left(self.turn % count.max(1));
        self.turn = 0;
        let (records, index, _) = select_all(self.sources.iter_mut().map(|source| source.next(budget))).await;
        self.turn = index + 1;
        records
    }

    async fn waited_for(&mut self, budget: usize) -> Result<Vec<Record>> {
        for source in &mut self.sources {
            let records = source.waited_for(budget).await?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }

    async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        for source in &mut self.sources {
            source.acknowledge(positions).await?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        for source in &mut self.sources {
            source.close().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::RecordKind;

    /// Always has another record, or never one.
    struct Endless {
        name: Arc<str>,
        position: u64,
        has_some: bool,
        acknowledged: Arc<std::sync::Mutex<Vec<String>>>,
    }

    #[async_trait]
    impl EventSource for Endless {
        async fn next(&mut self, _budget: usize) -> Result<Vec<Record>> {
            if !self.has_some {
                std::future::pending::<()>().await;
            }
            self.position += 1;
            Ok(vec![Record {
                partition: Arc::clone(&self.name),
                position: self.position,
                received_at_us: 0,
                kind: RecordKind::JsonBatch,
                file: None,
                bytes: bytes::Bytes::new(),
            }])
        }

        async fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
            let mine = positions.iter().filter(|(partition, _)| *partition == &*self.name);
            let mine: Vec<String> = mine.map(|(partition, last)| format!("{partition} {last}")).collect();
            self.acknowledged.lock().unwrap().extend(mine);
            Ok(())
        }
    }

    #[tokio::test]
    async fn sources_that_have_some_take_turns_and_each_is_told_of_its_own() {
        let acknowledged = Arc::default();
        let source = |name: &str, has_some| -> Box<dyn EventSource> {
            Box::new(Endless {
                name: name.into(),
                position: 0,
                has_some,
                acknowledged: Arc::clone(&acknowledged),
            })
        };
        let mut merged = Merged::new(vec![source("a", true), source("none", false), source("b", true)]);
        let mut positions = Positions::default();
        for _ in 0..20 {
            for record in merged.next(1).await.unwrap() {
                positions.add(&record.partition, record.position);
            }
        }
        let counts: Vec<(&str, u64)> = positions.iter().collect();
        assert_eq!(counts, [("a", 10), ("b", 10)]);
        assert_eq!(merged.waited_for(1).await.unwrap(), []);
        merged.acknowledge(&positions).await.unwrap();
        let mut told = acknowledged.lock().unwrap().clone();
        told.sort();
        assert_eq!(told, ["a 10", "b 10"]);
    }
}
