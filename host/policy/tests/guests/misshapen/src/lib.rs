//! Exports `lifecycle` as it should be, and a `select` of another shape under the right name.

wit_bindgen::generate!({
    inline: r#"
        package tenure:policy@0.1.0;

        interface types {
            record field-error { path: string, message: string }
        }
        interface lifecycle {
            use types.{field-error};
            record description {
                name: string,
                version: string,
                settings-schema: string,
                attribute-keys: list<string>,
            }
            describe: func() -> description;
            validate-settings: func(settings: string) -> list<field-error>;
            init: func(settings: string) -> result<_, list<field-error>>;
        }
        interface select {
            select: func(pools: u32) -> u32;
        }
        world misshapen {
            export lifecycle;
            export select;
        }
    "#,
    generate_all,
});

use exports::tenure::policy::{lifecycle, select};
use tenure::policy::types::FieldError;

struct Misshapen;

impl lifecycle::Guest for Misshapen {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: "misshapen".to_owned(),
            version: "1".to_owned(),
            settings_schema: "{}".to_owned(),
            attribute_keys: Vec::new(),
        }
    }

    fn validate_settings(_: String) -> Vec<FieldError> {
        Vec::new()
    }

    fn init(_: String) -> Result<(), Vec<FieldError>> {
        Ok(())
    }
}

impl select::Guest for Misshapen {
    fn select(pools: u32) -> u32 {
        pools
    }
}

export!(Misshapen);
