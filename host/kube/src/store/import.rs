//! An import: what the API holds is replaced by an export.
//!
//! It cannot be one step. While it is under way the ConfigMap says so, and a store that is opened then, or whose import was
//! cut short, refuses everything but another import: so nobody works on a half. Other replicas must have been ended; an
//! operator who imports under running allocators gets what they see, which is rows that go and come.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tenure_store::{Contents, ImportMode, StoreError, Write};

use super::life::Life;
use super::set::AT_ONCE;
use super::{Inner, next};

impl Inner {
    /// Replaces everything.
    pub(super) async fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> Result<(), StoreError> {
        let rows = self.all_rows().await?;
        let listed = self.objects.list(&self.rows.calls, &mut self.patience()).await?;
        let (leases, objects) = (rows.len() as u64, listed.objects.len() as u64);
        if mode == ImportMode::IntoEmpty && (leases, objects) != (0, 0) {
            return Err(StoreError::NotEmpty { leases, objects });
        }
        let above = |life: &Life| next(life.epoch.max(contents.epoch));
        self.change_life(|life| (above(life), true)).await?;
        let old = rows
            .into_iter()
            .map(|row| Write::Delete { key: row.lease.key(), expect: row.revision });
        self.write_each(old.collect()).await?;
        for object in &listed.objects {
            let (kind, name) = (object.kind(), object.name());
            self.objects.delete(kind, name, &self.rows.calls, &mut self.patience()).await?;
        }
        for object in &contents.objects {
            let put = self.objects.put(object, &self.rows.calls, &mut self.patience()).await?;
            self.rows.note(put);
        }
        self.write_each(contents.leases.into_iter().map(Write::Create).collect()).await?;
        self.change_life(|life| (life.epoch, false)).await.map(|_| ())
    }

    /// Writes rows that have nothing to do with each other.
    async fn write_each(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let one = |write| self.rows.write(vec![write], self.options.settle_within);
        stream::iter(writes)
            .map(one)
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
    }
}
