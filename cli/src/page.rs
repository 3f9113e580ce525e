//! The page for browsers, put together from its sources when the program is built: one HTML document,
//! and the mesh client for browsers as a module that works alone.

use rtcmesh_runtime::Assets;

/// The page: markup, style and scripts in one document. Its scripts form one module.
const PAGE: &str = concat!(
    include_str!("../page/head.html"),
    "<style>\n",
    include_str!("../page/style.css"),
    "</style>\n",
    include_str!("../page/body.html"),
    "<script type=\"module\">\n",
    include_str!("../page/audio.js"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
