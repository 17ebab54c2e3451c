//! Pictures of one's own: from a folder of files to a table of what each shows.

use crate::support::Lab;

/// A picture of one colour, a few pixels wide, as a BMP file.
fn bitmap([red, green, blue]: [u8; 3]) -> Vec<u8> {
    const SIDE: u32 = 12;
    let pixels = [blue, green, red].repeat((SIDE * SIDE) as usize);
    let mut file = b"BM".to_vec();
    for number in [54 + pixels.len() as u32, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, 0, pixels.len() as u32, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(pixels);
    file
}

/// Pictures of two classes that a glance tells apart, in `folder`.
fn paint(lab: &Lab, folder: &str, count: u8) {
    for at in 0..count {
        lab.write(&format!("{folder}/red/{at}.bmp"), bitmap([200 + at, 20 + at, 10]));
        lab.write(&format!("{folder}/blue/{at}.bmp"), bitmap([10, 30 + at, 180 + at]));
    }
}

#[test]
fn a_folder_of_pictures_becomes_a_table_of_what_they_show() {
    let lab = Lab::new();
    paint(&lab, "photos/train", 10);
    paint(&lab, "photos/test", 5);
    for at in 0..20 {
        lab.write(&format!("photos/unlabelled/{at}.bmp"), bitmap([220 - at, 10, at]));
    }
    let shown = lab.succeeds("data show --data photos --out photos.png");
    let expected = "folder:64: 20 training and 10 test images, 20 without a label, 64 × 64 pixels, 3 channels";
    assert!(shown.starts_with(expected) && shown.contains("    1  red        10       5"), "{shown}");

    let data = "--data photos --dataset folder:16";
    lab.succeeds(&format!("pretrain --method simclr {data} --epochs 2 --batch-size 10 --run encoder"));
    // The size is that of the weights.
    lab.succeeds("probe --head linear --weights encoder --data photos --run linear");
    let report = lab.succeeds("evaluate --weights linear --data photos --class-names");
    assert!(report.contains("blue       1.00      1.00      1.00         5"), "{report}");
    lab.fails("evaluate --weights linear --data photos --split pool", &["images without a label cannot be scored"]);
    lab.succeeds("finetune --weights linear --data photos --epochs 1 --batch-size 10 --run tuned");
    lab.succeeds("selftrain --weights tuned --data photos --epochs 1 --batch-size 10 --run student");

    let table = lab.succeeds("predict --weights linear --data photos");
    assert_eq!(table.lines().count(), 1 + 50, "{table}");
    assert!(table.starts_with("file,label,predicted,probability\n"), "{table}");
    for (class, part) in [("red", "train"), ("blue", "test")] {
        assert!(table.contains(&format!("\n{part}/{class}/3.bmp,{class},{class},")), "{table}");
    }
    assert!(table.contains("\nunlabelled/7.bmp,,red,"), "{table}");
    let table = lab.succeeds("predict --weights linear --data photos --split test --probabilities");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0].join(" "), "file label predicted probability p(blue) p(red)");
    let blue = rows.iter().find(|row| row[0] == "test/blue/0.bmp").unwrap();
    let [blue, red] = [4, 5].map(|column| blue[column].parse::<f32>().unwrap());
    assert!(blue > 0.5 && red > 0.0 && (blue + red - 1.0).abs() < 1e-6, "{table}");
    // Pictures alone, as new ones come.
    lab.succeeds("predict --weights linear --data photos/unlabelled --out new.csv");
    let table = String::from_utf8(lab.read("new.csv")).unwrap();
    assert!(table.lines().count() == 21 && table.contains("\n19.bmp,,red,"), "{table}");

    // What a picture is like: one of the dataset, by either of its names, and one from elsewhere.
    let search = "search --weights encoder --data photos --count 3";
    let table =
        lab.succeeds(&format!("{search} --image unlabelled/7.bmp --image photos/train/blue/3.bmp --figure near.png"));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows.len(), rows[0].join(" ")), (7, "image rank file label distance".to_owned()), "{table}");
    assert!(rows[1..4].iter().all(|row| row[2].contains("red") || row[2].starts_with("unlabelled/")), "{table}");
    assert!(rows[4..].iter().all(|row| row[3] == "blue" && row[2] != "train/blue/3.bmp"), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("unlabelled/7.bmp,1,") && !lab.read("near.png").is_empty());
    lab.write("elsewhere.bmp", bitmap([200, 20, 10]));
    let table = lab.succeeds(&format!("{search} --image elsewhere.bmp"));
    assert!(table.contains("\nelsewhere.bmp,1,train/red/0.bmp,red,0.0000\n"), "{table}");
    lab.fails(
        &format!("{search} --image none.bmp"),
        &["--image none.bmp", "neither an image of the split, such as ", "nor the file of a picture"],
    );
    lab.fails(&format!("{search}0 --split test --image 3"), &["--count 30: expected 1 to 10, the images"]);

    lab.succeeds("embed --weights encoder --data photos --split pool --components 2 --out map");
    let map = String::from_utf8(lab.read("map/umap.csv")).unwrap();
    assert!(map.starts_with("file,class,x,y\n") && map.contains("\nunlabelled/7.bmp,unlabelled,"), "{map}");
    let page = String::from_utf8(lab.read("encoder/report.html")).unwrap();
    assert!(page.contains("\"40 training images\"") && page.contains("\"unlabelled\""));
    lab.succeeds("report encoder --data photos --split unlabelled");
}

#[test]
fn pictures_worth_a_label_are_chosen_labelled_and_used() {
    let lab = Lab::new();
    for at in 0..20 {
        lab.write(&format!("photos/r{at}.bmp"), bitmap([220 - at, 10, at]));
        lab.write(&format!("photos/b{at}.bmp"), bitmap([at, 10, 220 - at]));
    }
    let data = "--data photos --dataset folder:16";
    lab.succeeds(&format!("pretrain --method simclr {data} --epochs 2 --batch-size 10 --run encoder"));
    let table = lab.succeeds("select --weights encoder --data photos --count 2");
    let files: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert!(table.starts_with("file,label,stands_for,typicality\n"), "{table}");
    assert_eq!((files.len(), files.iter().filter(|file| file.starts_with('r')).count()), (2, 1), "{table}");
    assert_eq!(table, lab.succeeds("select --weights encoder --data photos --count 2"));

    // The table with its labels filled in is a labels.csv.
    lab.succeeds("select --weights encoder --data photos --count 10 --out chosen.csv");
    let chosen = String::from_utf8(lab.read("chosen.csv")).unwrap();
    let label = |line: &str| {
        let class = if line.starts_with('r') { ",red," } else { ",blue," };
        line.replacen(",,", class, 1)
    };
    let labels: Vec<String> = chosen.lines().map(label).collect();
    lab.write("photos/labels.csv", labels.join("\n"));
    let shown = lab.succeeds(&format!("data show {data} --out photos.png"));
    assert!(shown.contains("8 training and 2 test images, 30 without a label"), "{shown}");
    lab.fails("select --weights encoder --data photos --count 31", &["ask for 1 to 30"]);
    let next = lab.succeeds("select --weights encoder --data photos --count 30");
    assert!(
        next.lines().skip(1).all(|line| !labels.iter().any(|label| label.split(',').next() == line.split(',').next()))
    );

    lab.fails(
        "probe --head linear --weights encoder --data photos --chosen chosen.csv --run linear",
        &["chosen.csv", "is no training image with a label"],
    );
    lab.write("some.csv", "file\n");
    lab.fails(
        "probe --head linear --weights encoder --data photos --chosen some.csv --run linear",
        &["some.csv", "names no image"],
    );
    lab.write("some.csv", "picture\nr1.bmp\n");
    lab.fails(
        "probe --head linear --weights encoder --data photos --chosen some.csv --run linear",
        &["its first line is picture; expected a column called file"],
    );
    lab.fails("evaluate --weights encoder --data photos --chosen some.csv", &["they need --knn"]);
}

#[test]
fn images_of_a_dataset_are_chosen_by_their_numbers() {
    let lab = Lab::new();
    lab.succeeds("pretrain --dataset shapes --method simclr --epochs 1 --run encoder");
    let outcome = lab.run("select --weights encoder --count 40 --out chosen.csv");
    assert!(
        outcome.code == Some(0) && outcome.stderr.contains("as if none had a label, since all have"),
        "{}",
        outcome.stderr
    );
    lab.succeeds("probe --head linear --weights encoder --chosen chosen.csv --run linear");
    let config = String::from_utf8(lab.read("linear/config.toml")).unwrap();
    assert!(config.contains("labels = 40\nchosen = \"chosen in chosen.csv\""), "{config}");
    let chosen = String::from_utf8(lab.read("chosen.csv")).unwrap();
    let first = chosen.lines().nth(1).unwrap();
    lab.write("twice.csv", format!("{chosen}{first}\n"));
    lab.fails(
        "finetune --weights linear --chosen twice.csv --run tuned",
        &["twice.csv", "line 42", "stands there twice"],
    );
}

#[test]
fn labels_may_stand_in_a_file_and_test_pictures_be_held_out() {
    let lab = Lab::new();
    let mut labels = "file,label\n".to_owned();
    for at in 0..10 {
        for (name, colour) in [("r", [200, at, 0]), ("b", [0, at, 200])] {
            lab.write(&format!("photos/{name}{at}.bmp"), bitmap(colour));
            labels.push_str(&format!("{name}{at}.bmp,{}\n", if name == "r" { "red" } else { "blue" }));
        }
        lab.write(&format!("photos/more/{at}.bmp"), bitmap([100, at, 100]));
    }
    lab.write("photos/labels.csv", labels);
    let outcome = lab.run("data show --data photos --dataset folder:8:grey --out photos.png");
    let expected = "folder:8:grey: 16 training and 4 test images, 10 without a label, 8 × 8 pixels, 1 channel\n";
    assert!(outcome.stdout.starts_with(expected), "{}", outcome.stdout);
    let expected =
        "photos: there is no test/ or val/, so 4 of the 20 labelled pictures, always the same ones, are held out";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);

    lab.write("photos/labels.csv", "file,label\nnone.bmp,red\n");
    lab.fails("data show --data photos", &["photos/labels.csv: line 2: there is no picture none.bmp"]);
}

#[test]
fn pictures_that_cannot_serve_are_refused() {
    let lab = Lab::new();
    lab.fails("pretrain --dataset folder:32 --run run", &["'folder:32' are pictures of your own; name their folder"]);
    lab.fails("pretrain --dataset folder:3 --data data --run run", &["'folder:3' is no form of pictures"]);
    lab.fails("data fetch --dataset folder", &["there is nothing to fetch"]);
    lab.write("empty/notes.txt", "no picture");
    lab.fails("data show --data empty --dataset folder", &["empty: holds no pictures; expected .png, .jpg"]);

    for at in 0..20 {
        lab.write(&format!("flat/{at}.bmp"), bitmap([at, 2, 3]));
    }
    let no_label = ["folder:64: none of its 20 images for training has a label. Put pictures of each class"];
    lab.fails("train --data flat --run run", &no_label);
    lab.fails("experiment labels --data flat --run run", &no_label);
    lab.fails("experiment methods --data flat --run run", &no_label);
    lab.fails(
        "pretrain --method supcon --data flat --batch-size 10 --run run",
        &["SupCon learns from the label of every image, and 20 of these 20 have none"],
    );
    lab.fails(
        "pretrain --data flat --batch-size 10 --set watch.labels=10 --set watch.validation=10 --run run",
        &["together at most the 0 labelled training images"],
    );
    assert!(!lab.exists("run"), "a refused training leaves nothing");

    lab.write("flat/x.bmp", "no picture");
    lab.fails("data show --data flat", &["flat/x.bmp: cannot be read as a picture"]);
    lab.write("flat/y.png", "no picture");
    lab.fails("data show --data flat", &["2 of 22 pictures cannot be read; repair or remove them:", "flat/y.png"]);
}

#[test]
fn a_classifier_is_scored_on_its_own_classes_only() {
    let lab = Lab::new();
    paint(&lab, "photos", 10);
    lab.succeeds("probe --head linear --data photos --dataset folder:16 --run linear");
    for at in 0..10 {
        lab.write(&format!("others/green/{at}.bmp"), bitmap([0, 200, at]));
        lab.write(&format!("others/red/{at}.bmp"), bitmap([200, 0, at]));
    }
    let expected = ["tells apart blue, red, and the pictures are of green, red; name the folders alike"];
    lab.fails("evaluate --weights linear --data others", &expected);
}
