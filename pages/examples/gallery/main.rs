//! Renders every page into a folder, to be looked at: `cargo run --example gallery -- target/gallery`, then
//! `python3 -m http.server -d target/gallery` and <http://localhost:8000>.

mod data;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to write to")?;
    let mut index = String::from("<!doctype html><title>Gallery</title><ul>");
    for (name, bytes) in data::pages() {
        let path = Path::new(&folder).join(&name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
        if name.ends_with(".html") {
            index.push_str(&format!("<li><a href=\"{name}\">{name}</a>"));
        }
    }
    std::fs::write(Path::new(&folder).join("index.html"), index)?;
    std::fs::write(Path::new(&folder).join("policy.txt"), pages::assets::PAGE_POLICY)?;
    Ok(())
}
