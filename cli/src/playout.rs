//! Options of how received media is played, and the sizes that they may name.

use clap::ValueEnum;
use rtcmesh_core::config::{Config, Playout, PlayoutPreference};

/// How received audio and video are played.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct PlayoutArgs {
    /// Hold what arrives for so many milliseconds above the network's own delay: 50 to 200. An adaptive
    /// delay begins there.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(50..=200))]
    jitter_ms: u32,
    /// Whether that delay follows the network, or stays.
    #[arg(long, value_enum, default_value_t = PlayoutChoice::Adaptive)]
    playout: PlayoutChoice,
    /// What an adaptive delay prefers: little of it, or few losses for some half more.
    #[arg(long, value_enum, default_value_t = Preference::LowDelay)]
    prefer: Preference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlayoutChoice {
    Adaptive,
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preference {
    LowDelay,
    FewLosses,
}

impl PlayoutArgs {
    /// The configuration with these options.
    pub(crate) fn apply(self, config: Config) -> Config {
        config
            .jitter_buffer_size_ms(self.jitter_ms)
            .playout(match self.playout {
                PlayoutChoice::Adaptive => Playout::Adaptive,
                PlayoutChoice::Fixed => Playout::Fixed,
            })
            .playout_preference(match self.prefer {
                Preference::LowDelay => PlayoutPreference::LowDelay,
                Preference::FewLosses => PlayoutPreference::FewLosses,
            })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: PlayoutArgs,
    }

    fn config(words: &[&str]) -> Result<Config, String> {
        Program::try_parse_from(["x"].iter().chain(words))
            .map(|program| program.args.apply(Config::new("ws://h/")))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_the_librarys_own_defaults_stand() {
        let (ours, library) = (config(&[]).unwrap(), Config::new("ws://h/"));
        assert_eq!(ours.jitter_buffer_size_ms, library.jitter_buffer_size_ms);
        assert_eq!(ours.playout, library.playout);
        assert_eq!(ours.playout_preference, library.playout_preference);
    }

    #[test]
    fn every_option_reaches_the_configuration() {
        let words = ["--jitter-ms", "120", "--playout", "fixed", "--prefer", "few-losses"];
        let config = config(&words).unwrap();
        assert_eq!((config.jitter_buffer_size_ms, config.playout), (120, Playout::Fixed));
        assert_eq!(config.playout_preference, PlayoutPreference::FewLosses);
        assert!(config.validate().is_ok());
    }

    #[test]
    fn sizes_out_of_bounds_are_named() {
        for size in ["49", "201", "0", "much"] {
            let error = config(&["--jitter-ms", size]).unwrap_err();
            assert!(error.contains("--jitter-ms"), "{error}");
        }
    }
}
