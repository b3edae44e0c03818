//! The suite that every engine of the store passes. A history it has none.

use tenure_core::history::Kept;
use tenure_kube::KubeStore;
use tenure_store::contract::Harness;
use tenure_store::contract::samples::nth;
use tenure_store::{Store as _, Write};

use crate::lab::Lab;

#[derive(Default)]
struct OnTheApi(Lab);

impl Harness for OnTheApi {
    type Store = KubeStore;
    const OWN_REVISIONS: bool = false;

    fn open(&self) -> KubeStore {
        self.0.store()
    }

    fn open_keeping(&self, _: u64) -> KubeStore {
        self.0.store()
    }
}

tenure_store::store_contract!(OnTheApi);
tenure_store::durable_store_contract!(OnTheApi);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_no_history_and_says_so() {
    let harness = OnTheApi::default();
    let store = harness.open();
    store.commit(vec![Write::Create(nth(1))]).await.unwrap();
    let kept = store.history(None, &mut |entry| panic!("{entry:?}")).unwrap();
    assert_eq!(kept, Kept::default());
}
