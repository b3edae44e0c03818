/// Makes a component of a policy: `export!(MyPolicy: select, reclaim);`
///
/// It exports `lifecycle` and exactly the hooks that are named; the policy must implement the trait of
/// each. The same mistakes are errors on every target.
///
/// ```compile_fail
/// # use tenure_policy::*;
/// # struct P;
/// # impl Policy for P {
/// #     type Settings = NoSettings;
/// #     fn describe() -> Description { Description::new("p", "1", "{}") }
/// #     fn new(_: NoSettings) -> Result<Self, Vec<FieldError>> { Ok(Self) }
/// # }
/// export!(P: reclaim); // `export!` names the hook `reclaim`, but `P` does not implement `Reclaim`
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # struct P;
/// tenure_policy::export!(P: selekt); // unknown hook `selekt`: the hooks are select, affinity, reclaim
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # struct P;
/// tenure_policy::export!(P); // name at least one hook
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($policy:ident $(:)?) => {
        ::core::compile_error!(
            "name at least one hook (select, affinity, reclaim), as in `export!(MyPolicy: select)`"
        );
    };
    ($policy:ident : $($hook:ident),+ $(,)?) => {
        const _: () = {
            ::std::thread_local! {
                static SLOT: ::std::cell::RefCell<::core::option::Option<$policy>> =
                    const { ::std::cell::RefCell::new(::core::option::Option::None) };
            }
            impl $crate::rt::Slot for $policy {
                fn slot<R>(
                    f: impl ::core::ops::FnOnce(
                        &::std::cell::RefCell<::core::option::Option<Self>>,
                    ) -> R,
                ) -> R {
                    SLOT.with(f)
                }
            }
            // The generated macros want an identifier.
            #[allow(dead_code)]
            type Exports = $crate::rt::Exports<$policy>;
            $( $crate::__check_hook!($hook $policy); )+
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                $crate::bindings::lifecycle::export_lifecycle!(
                    Exports with_types_in $crate::bindings::lifecycle
                );
                $( $crate::__export_hook!($hook Exports); )+
            };
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (select $exports:ident) => {
        $crate::bindings::select::export_select!($exports with_types_in $crate::bindings::select);
    };
    (affinity $exports:ident) => {
        $crate::bindings::affinity::export_affinity!(
            $exports with_types_in $crate::bindings::affinity
        );
    };
    (reclaim $exports:ident) => {
        $crate::bindings::reclaim::export_reclaim!(
            $exports with_types_in $crate::bindings::reclaim
        );
    };
    // `__check_hook!` has complained already.
    ($unknown:ident $exports:ident) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check_hook {
    (select $policy:ident) => { $crate::__check_hook!(@ $policy Select); };
    (affinity $policy:ident) => { $crate::__check_hook!(@ $policy Affinity); };
    (reclaim $policy:ident) => { $crate::__check_hook!(@ $policy Reclaim); };
    (@ $policy:ident $trait:ident) => {
        const _: () = {
            const fn implements<P: $crate::$trait>() {}
            implements::<$policy>()
        };
    };
    ($unknown:ident $policy:ident) => {
        ::core::compile_error!(::core::concat!(
            "unknown hook `", ::core::stringify!($unknown),
            "`: the hooks are select, affinity, reclaim"
        ));
    };
}
