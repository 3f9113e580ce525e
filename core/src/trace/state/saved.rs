//! The macro that has a type's state written down, field by field.

/// Implements [`Save`](super::Save) for a struct or an enum, whose fields have it. A field that is forgotten does not
/// compile. Behind a semicolon stand fields that are made anew: `field = |reader| …`, a [`Result`]. Generics are told
/// twice: `struct Ring<T> [T: Save] { … }`. Behind an `if` stands a method that tells whether a struct that was read can
/// be: one whose loops rely on it might never end otherwise.
macro_rules! saved {
    (struct $name:ident $(<$($arg:ident),+> [$($generics:tt)+])? {
        $($(#[$meta:meta])* $field:ident),* $(,)?
        $(; $($(#[$new_meta:meta])* $new:ident = $make:expr),+ $(,)?)?
    } $(if $possible:ident)?) => {
        impl $(<$($generics)+>)? $crate::trace::state::Save for $name $(<$($arg),+>)? {
            fn layout(layout: &mut $crate::trace::state::Layout) {
                layout.name(stringify!($name));
                $($(#[$meta])* layout.field(stringify!($field), |of: &Self| &of.$field);)*
            }

            #[allow(unused_variables)]
            fn save(&self, to: &mut $crate::trace::state::Writer) {
                let Self {
                    $($(#[$meta])* $field,)*
                    $($($(#[$new_meta])* $new: _,)+)?
                } = self;
                $($(#[$meta])* $crate::trace::state::Save::save($field, to);)*
            }

            #[allow(unused_variables)]
            fn load(
                from: &mut $crate::trace::state::Reader<'_>,
            ) -> Result<Self, $crate::trace::state::Unreadable> {
                let loaded = Self {
                    $($(#[$meta])* $field: {
                        from.field(stringify!($name), stringify!($field));
                        $crate::trace::state::Save::load(from)?
                    },)*
                    $($($(#[$new_meta])* $new: {
                        let make: fn(
                            &mut $crate::trace::state::Reader<'_>,
                        ) -> Result<_, $crate::trace::state::Unreadable> = $make;
                        make(from)?
                    },)+)?
                };
                $(if !loaded.$possible() {
                    from.field(stringify!($name), stringify!($possible));
                    return Err(from.wrong("it does not fit together"));
                })?
                Ok(loaded)
            }
        }
    };
    (struct $name:ident ($($field:ident),+)) => {
        impl $crate::trace::state::Save for $name {
            fn layout(layout: &mut $crate::trace::state::Layout) {
                layout.variant(stringify!($name), |of: &Self| {
                    let Self($($field),+) = of;
                    Some($crate::trace::state::Chain::new()$(.with($field))+)
                });
            }

            fn save(&self, to: &mut $crate::trace::state::Writer) {
                let Self($($field),+) = self;
                $($crate::trace::state::Save::save($field, to);)+
            }

            fn load(
                from: &mut $crate::trace::state::Reader<'_>,
            ) -> Result<Self, $crate::trace::state::Unreadable> {
                from.field(stringify!($name), "0");
                Ok(Self($({
                    let $field = $crate::trace::state::Save::load(from)?;
                    $field
                }),+))
            }
        }
    };
    (enum $name:ident {
        $($(#[$meta:meta])* $variant:ident
            $(($($part:ident),+))? $({$($field:ident),+ $(,)?})?),+ $(,)?
    }) => {
        impl $crate::trace::state::Save for $name {
            fn layout(layout: &mut $crate::trace::state::Layout) {
                layout.name(stringify!($name));
                $($(#[$meta])* layout.variant(stringify!($variant), |of: &Self| match of {
                    Self::$variant $(($($part),+))? $({$($field),+})? =>
                        Some($crate::trace::state::Chain::new()
                            $($(.with($part))+)? $($(.with($field))+)?),
                    #[allow(unreachable_patterns)]
                    _ => None,
                });)+
            }

            fn save(&self, to: &mut $crate::trace::state::Writer) {
                match self {
                    $($(#[$meta])* Self::$variant $(($($part),+))? $({$($field),+})? => {
                        to.variant(Self::VARIANTS, stringify!($variant));
                        $($($crate::trace::state::Save::save($part, to);)+)?
                        $($($crate::trace::state::Save::save($field, to);)+)?
                    })+
                }
            }

            fn load(
                from: &mut $crate::trace::state::Reader<'_>,
            ) -> Result<Self, $crate::trace::state::Unreadable> {
                let variant = from.variant(stringify!($name), Self::VARIANTS)?;
                $($(#[$meta])* if variant == stringify!($variant) {
                    from.field(stringify!($name), stringify!($variant));
                    $($(let $part = $crate::trace::state::Save::load(from)?;)+)?
                    $($(let $field = $crate::trace::state::Save::load(from)?;)+)?
                    return Ok(Self::$variant $(($($part),+))? $({$($field),+})?);
                })+
                Err(from.wrong("no such variant"))
            }
        }

        impl $name {
            const VARIANTS: &[&str] = &[$($(#[$meta])* stringify!($variant)),+];
        }
    };
}

pub(crate) use saved;
