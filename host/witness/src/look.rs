//! One look at what ended until now, and what follows from it for each namespace that is asked about.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use tenure_core::lease::Netns;
use tenure_core::ports::{AddressLook, NetnsLook, WitnessError};

use crate::address;
use crate::netlink::{Route, RouteError};
use crate::nsid;
use crate::visible::Visible;
use crate::witness::Inner;

/// Memory as of the look, and what can be asked on top of it. Answers are about the moment of
/// [`KernelWitness::look`](crate::KernelWitness::look) or later, never earlier.
pub struct Look {
    inner: Arc<Inner>,
    /// Serves questions about single ids; none after one of them failed.
    route: RefCell<Option<Route>>,
    /// Made at most once, by the first namespace that neither memory nor the kernel settles.
    visible: OnceCell<Visible>,
}

// === impl Look ===

impl Look {
    /// Takes in everything that ended until now.
    pub(crate) fn take(inner: &Arc<Inner>) -> Result<Self, WitnessError> {
        let route = Route::open(inner.home.cookie)
            .map_err(|error| error.during("opening a netlink socket"))?;
        let mut memory = inner.memory.lock();
        memory.catch_up();
        let doubted = memory.doubted();
        drop(memory);
        let route = RefCell::new(Some(route));
        let look = Self { inner: Arc::clone(inner), route, visible: OnceCell::new() };
        look.settle(&doubted)?;
        Ok(look)
    }

    /// After lost events: which of the ids that memory no longer believes have ended?
    fn settle(&self, doubted: &[i32]) -> Result<(), WitnessError> {
        for id in doubted {
            let exists = self.exists(*id);
            if !exists.map_err(|error| error.during("asking for a namespace id"))? {
                self.inner.memory.lock().forget(*id);
            }
        }
        Ok(())
    }

    /// The id to look the namespace up by. Ids in leases count only if they were given here.
    fn id_of(&self, netns: &Netns) -> Option<i32> {
        let seen_here = self.inner.memory.lock().id_of(netns.cookie);
        seen_here.or(netns.nsid.filter(|_| self.inner.earlier_ids_count))
    }

    /// Whether the id exists, asked of the kernel: it looks through all ids for it, so memory is asked first.
    fn exists(&self, id: i32) -> Result<bool, RouteError> {
        let mut slot = self.route.borrow_mut();
        let mut route = match slot.take() {
            Some(route) => route,
            None => Route::open(self.inner.home.cookie)?,
        };
        let answer = nsid::exists(&mut route, id)?;
        // Kept only after a clean answer: a late one must not meet the next question.
        *slot = Some(route);
        Ok(answer)
    }

    /// Memory does not know who wears `id`: the kernel knows whether anyone does.
    fn by_kernel(&self, netns: &Netns, id: i32) -> NetnsLook {
        match self.exists(id) {
            Ok(true) => self.by_handles(netns, Some(id)),
            Ok(false) => NetnsLook::Gone,
            Err(error) => {
                tracing::debug!(%error, id, "a namespace id could not be asked for");
                NetnsLook::Unknown
            }
        }
    }

    /// Nor does the kernel say who: a visible handle may.
    fn by_handles(&self, netns: &Netns, id: Option<i32>) -> NetnsLook {
        let visible = self.visible.get_or_init(|| Visible::survey(&self.inner));
        if visible.shows(netns.cookie) {
            return NetnsLook::Alive;
        }
        match id.and_then(|id| visible.wearer(id)) {
            Some(_other) => NetnsLook::Gone,
            None => NetnsLook::Unknown,
        }
    }

    fn address_by_id(&self, netns: &Netns, id: i32, address: IpAddr) -> AddressLook {
        let stands = address::is_on_link(self.inner.home.cookie, Some(id), address);
        let mut memory = self.inner.memory.lock();
        memory.catch_up();
        let same_wearer = memory.wearer(id) == Some(netns.cookie);
        drop(memory);
        match stands {
            Ok(true) if same_wearer => AddressLook::OnLink,
            Ok(false) if same_wearer => AddressLook::OnNone,
            // The wearer ended: the answer may be about the next one.
            Ok(_) => AddressLook::Unknown,
            Err(RouteError::Refused(_)) if self.namespace(netns) == NetnsLook::Gone => {
                AddressLook::NamespaceGone
            }
            Err(error) => {
                tracing::debug!(%error, id, "the addresses of a network namespace could not be listed");
                AddressLook::Unknown
            }
        }
    }
}

impl Look {
    /// Whether the namespace still exists.
    #[must_use]
    pub fn namespace(&self, netns: &Netns) -> NetnsLook {
        if netns.cookie == self.inner.home.cookie {
            return NetnsLook::Alive;
        }
        let Some(id) = self.id_of(netns) else { return self.by_handles(netns, None) };
        let wearer = self.inner.memory.lock().wearer(id);
        match wearer {
            Some(cookie) if cookie == netns.cookie => NetnsLook::Alive,
            // A namespace keeps its id for life, so another wearer means that this one is gone.
            Some(_other) => NetnsLook::Gone,
            None => self.by_kernel(netns, id),
        }
    }

    /// Whether `address` stands on a link of the namespace. Asks the kernel at once.
    #[must_use]
    pub fn address(&self, netns: &Netns, address: IpAddr) -> AddressLook {
        if netns.cookie == self.inner.home.cookie {
            return match address::is_on_link(netns.cookie, None, address) {
                Ok(true) => AddressLook::OnLink,
                Ok(false) => AddressLook::OnNone,
                Err(_) => AddressLook::Unknown,
            };
        }
        match self.namespace(netns) {
            NetnsLook::Gone => AddressLook::NamespaceGone,
            NetnsLook::Unknown => AddressLook::Unknown,
            NetnsLook::Alive => match self.id_of(netns) {
                Some(id) => self.address_by_id(netns, id, address),
                None => AddressLook::Unknown,
            },
        }
    }
}
