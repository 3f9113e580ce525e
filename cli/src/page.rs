//! The page for browsers, put together from its sources when the program is built: one HTML document,
//! and the mesh client for browsers as a module that works alone.

use rtcmesh_core::media::DataMessage;
use rtcmesh_runtime::Assets;
use serde_json::{Map, Value, json};

use crate::reception::Reception;

/// The member of `user_data` by which the page says that it shows what its peers tell of their reception.
const SHOWS_FIGURES: &str = "shows_figures";

/// The page: markup, style and scripts in one document. Its scripts form one module.
const PAGE: &str = concat!(
    include_str!("../page/head.html"),
    "<style>\n",
    include_str!("../page/style.css"),
    "</style>\n",
    include_str!("../page/body.html"),
    "<script type=\"module\">\n",
    include_str!("../page/audio.js"),
    include_str!("../page/video.js"),
    include_str!("../page/tiles.js"),
    include_str!("../page/chat.js"),
    include_str!("../page/app.js"),
    include_str!("../page/automation.js"),
    "</script>\n</body>\n</html>\n",
);

/// The mesh client for browsers: one module without dependencies.
const CLIENT: &str = concat!(
    include_str!("../page/rtcmesh/signaling.js"),
    include_str!("../page/rtcmesh/mesh.js"),
    include_str!("../page/rtcmesh/peer.js"),
);

/// The page at `/` and the client at `/rtcmesh.js`.
pub(crate) fn assets() -> Assets {
    Assets::new().with("/", "text/html; charset=utf-8", PAGE.as_bytes()).with(
        "/rtcmesh.js",
        "text/javascript; charset=utf-8",
        CLIENT.as_bytes(),
    )
}

/// Whether a peer that says this of itself is a page that [`figures`] may be sent to.
pub(crate) fn shows_figures(user_data: &Map<String, Value>) -> bool {
    user_data.get(SHOWS_FIGURES) == Some(&Value::Bool(true))
}

/// What the page is told of how its own audio and video are received.
pub(crate) fn figures(reception: &Reception) -> DataMessage {
    DataMessage::text(json!({ "rtcmesh": { "reception": reception.json() } }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_sent_only_to_those_who_show_them() {
        let user_data = |value: Value| Map::from_iter([(SHOWS_FIGURES.to_owned(), value)]);
        assert!(shows_figures(&user_data(true.into())));
        for other in [Map::new(), user_data(1.into()), user_data(false.into())] {
            assert!(!shows_figures(&other));
        }
        let DataMessage::Text(text) = figures(&Reception::default()) else { panic!("no text") };
        // The page tells them from messages of people by this beginning.
        assert!(text.starts_with(r#"{"rtcmesh":{"reception":{"#), "{text}");
    }

    #[test]
    fn the_scripts_cannot_end_their_element_early() {
        // A script element ends at the first such text, wherever it stands (HTML, section 4.12.1.3).
        let start = PAGE.find("<script").unwrap();
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("</script").count(), 1);
        assert!(!PAGE[start..].contains("<!--"));
    }

    #[test]
    fn the_client_imports_nothing_and_exports_the_mesh() {
        let statements = || CLIENT.lines().filter(|line| !line.starts_with([' ', '*']));
        assert!(!statements().any(|line| line.starts_with("import ")));
        assert!(statements().any(|line| line.starts_with("export class RtcMesh extends")));
    }
}
