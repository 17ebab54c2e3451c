use super::*;
use crate::dataset::Images;

fn hostile() -> Page {
    let bad = "</script><b onclick=\"x\">&{{script}}";
    Page {
        title: bad.into(),
        subtitle: bad.into(),
        classes: vec![bad.into()],
        runs: vec![Run { name: bad.into(), settings: vec![(bad.into(), bad.into())], series: Vec::new() }],
        ..Page::default()
    }
}

#[test]
fn names_cannot_leave_their_place() {
    for html in [hostile().to_html(), hostile().to_live_html("data.json")] {
        assert!(!html.contains("<b onclick") && !html.contains("\"x\">"), "{html}");
        assert_eq!(html.matches("</script>").count(), 2);
        let data = html.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["classes"][0], hostile().classes[0]);
        assert!(html.contains("<title>&lt;/script&gt;&lt;b onclick=&quot;x&quot;&gt;&amp;{{script}}</title>"));
    }
}

#[test]
fn only_the_live_page_may_connect_and_nothing_else_is_loaded() {
    let page = Page { title: "a run".into(), ..Page::default() };
    let html = page.to_html();
    assert!(!html.contains("connect-src") && !html.contains("data-live="));
    assert!(page.to_live_html("data.json").contains("connect-src 'self'"));
    assert!(!html.contains("'unsafe"), "inline code is allowed by its hash alone");
    let own = ["http://www.w3.org/2000/svg"];
    for (at, _) in html.match_indices("://") {
        let address = &html[html[..at].rfind(['"', ' ', '\n']).unwrap() + 1..];
        assert!(own.iter().any(|own| address.starts_with(own)), "{}", &address[..60]);
    }
}

#[test]
fn no_part_of_the_frame_is_left_open() {
    let html = Page::default().to_html();
    let marks: Vec<&str> = ["policy", "title", "style", "live", "data", "script"]
        .into_iter()
        .filter(|name| html.contains(&format!("{{{{{name}}}}}")))
        .collect();
    assert!(marks.is_empty(), "{marks:?}");
}

#[test]
fn base64_is_that_of_rfc_4648() {
    for (plain, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(plain.as_bytes()), text);
    }
    assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
}

fn decoded(text: &str) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|&letter| letter != b'=').map(digit).collect();
    let bits = |chunk: &[u8]| {
        chunk.iter().enumerate().fold(0_u32, |bits, (place, &digit)| bits | u32::from(digit) << (18 - 6 * place))
    };
    letters.chunks(4).flat_map(|chunk| bits(chunk).to_be_bytes()[1..chunk.len()].to_vec()).collect()
}

#[test]
fn an_atlas_holds_every_picture_in_its_place() {
    let images = Images::new(1, 1, 2, vec![1, 2, 3, 4, 5, 6]);
    let atlas = Atlas::new(&images, 2).unwrap();
    assert_eq!((atlas.tile, atlas.columns), ((2, 1), 2));
    let png = image::load_from_memory(&decoded(&atlas.png)).unwrap();
    assert_eq!(png.into_luma8().into_raw(), [1, 2, 3, 4, 5, 6, 0, 0]);
    let colour = Atlas::new(&Images::new(3, 1, 1, vec![7, 8, 9]), 1).unwrap();
    assert_eq!(image::load_from_memory(&decoded(&colour.png)).unwrap().into_rgb8().into_raw(), [7, 8, 9]);
    let large = Images::new(1, 96, 96, (0..96 * 96).map(|place| if place % 2 == 0 { 10 } else { 20 }).collect());
    let small = Atlas::new(&large, 1).unwrap();
    assert_eq!(small.tile, (48, 48));
    assert!(
        image::load_from_memory(&decoded(&small.png)).unwrap().into_luma8().into_raw().iter().all(|&value| value == 15)
    );
    assert!(Atlas::new(&images, 0).is_err());
}

#[test]
fn coordinates_keep_their_proportions() {
    let two = [0.0, 5.0, 10.0, 5.0, 5.0, 7.5];
    let map = Map::new("a", &two, &[1.0; 9], &[1, 2, 0], 1);
    let values =
        |text: &str| decoded(text).chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<_>>();
    // The second axis has a quarter of the span of the first, around its middle of 6.25.
    assert_eq!(values(&map.two), [0, 24576, 65535, 24576, 32768, 40959]);
    assert!(values(&map.three).iter().all(|&value| value == 32768));
    assert_eq!(decoded(&map.neighbours), [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
}
