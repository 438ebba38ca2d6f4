//! MIDI files as people read them: a piano roll in SVG, a table of notes, and numbers that the script plays.

use std::collections::{BTreeMap, HashMap, HashSet};

use askama::filters::Safe;
use midly::{MetaMessage, MidiMessage, Timing, TrackEventKind};

use crate::text::{self, Markup, push_escaped};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most notes that are kept of a file. The rest is counted.
pub const MAX_NOTES: usize = 6_000;
/// The most notes in the table.
pub const MAX_LISTED: usize = 200;
/// How many tracks have a colour of their own; the next ones begin again.
const COLOURS: usize = 6;
/// The most bars that have a line.
const MAX_BARS: usize = 400;
/// The most changes of tempo, and of the time signature, that are read.
const MAX_TEMPOS: usize = 1_000;
/// The most changes of tempo that the script follows.
const MAX_MARKS: usize = 200;
/// The widest roll, in pixels.
const MAX_WIDTH: f64 = 12_000.0;
/// The pixels of the widest box of a page that are right of the keys. The style sheet makes a shorter roll as wide as its box.
const BOX_WIDTH: f64 = 1_140.0;
/// The most characters of a track's name.
const MAX_NAME: usize = 60;

/// A note.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Note {
    /// When it begins, in quarter notes.
    pub start: f64,
    /// How long it lasts, in quarter notes.
    pub length: f64,
    /// Its key: 60 is C4.
    pub key: u8,
    /// How hard it is struck, of 127.
    pub velocity: u8,
    /// Its track, of those that have notes.
    pub track: usize,
}

/// What is read of a MIDI file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Song {
    /// Its notes, by the time that they begin; the first [`MAX_NOTES`].
    pub notes: Vec<Note>,
    /// How many there are.
    pub note_count: usize,
    /// The names of the tracks that have notes; a track without a name is numbered.
    pub tracks: Vec<String>,
    /// Changes of tempo: the time in quarter notes, and seconds for a quarter note from then on.
    tempos: Vec<(f64, f64)>,
    /// Changes of the time signature: the time in quarter notes, and the quarter notes of a bar from then on.
    bars: Vec<(f64, f64)>,
    /// Beats and what a beat is, at the beginning.
    signature: (u8, u32),
}

/// Reads a MIDI file, leniently. `None` if it is none, or too large.
pub fn read(bytes: &[u8]) -> Option<Song> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    // midly 0.5.3 overflows on the time code -128, which names no number of frames.
    if !bytes.starts_with(b"MThd") || bytes.get(12) == Some(&0x80) {
        return None;
    }
    let (header, tracks) = midly::parse(bytes).ok()?;
    let (ticks, fixed) = match header.timing {
        Timing::Metrical(ticks) => (f64::from(ticks.as_int().max(1)), None),
        // Without beats a quarter note is taken as half a second.
        Timing::Timecode(fps, subframe) => (f64::from(fps.as_f32()) * f64::from(subframe.max(1)) / 2.0, Some(0.5)),
    };
    let mut song = Song { signature: (4, 4), ..Song::default() };
    for (number, track) in tracks.filter_map(Result::ok).enumerate() {
        let mut time = 0_u64;
        let mut name = None;
        // When the notes that sound began, and how hard.
        let mut sounding: BTreeMap<(u8, u8), (u64, u8)> = BTreeMap::new();
        let mut notes = Vec::new();
        // A track that is damaged ends where it is.
        for event in track.map_while(Result::ok) {
            time = time.saturating_add(u64::from(event.delta.as_int()));
            let beat = time as f64 / ticks;
            match event.kind {
                TrackEventKind::Meta(MetaMessage::TrackName(text)) if name.is_none() => {
                    name = Some(text::cut(String::from_utf8_lossy(text).trim(), MAX_NAME));
                }
                TrackEventKind::Meta(MetaMessage::Tempo(micros))
                    if fixed.is_none() && song.tempos.len() < MAX_TEMPOS =>
                {
                    song.tempos.push((beat, f64::from(micros.as_int()) / 1e6));
                }
                TrackEventKind::Meta(MetaMessage::TimeSignature(beats, power, ..)) if song.bars.len() < MAX_TEMPOS => {
                    let unit = 1_u32 << power.min(6);
                    if song.bars.is_empty() {
                        song.signature = (beats, unit);
                    }
                    song.bars.push((beat, f64::from(beats.max(1)) * 4.0 / f64::from(unit)));
                }
                TrackEventKind::Midi { channel, message } => {
                    let (key, velocity) = match message {
                        MidiMessage::NoteOn { key, vel } => (key.as_int(), vel.as_int()),
                        MidiMessage::NoteOff { key, .. } => (key.as_int(), 0),
                        _ => continue,
                    };
                    let begun = sounding.remove(&(channel.as_int(), key));
                    if let Some((start, velocity)) = begun {
                        notes.push((start, time, key, velocity));
                    }
                    if velocity > 0 {
                        sounding.insert((channel.as_int(), key), (time, velocity));
                    }
                }
                _ => {}
            }
        }
        // What is never ended sounds until the track ends.
        notes.extend(sounding.into_iter().map(|((_, key), (start, velocity))| (start, time, key, velocity)));
        if notes.is_empty() {
            continue;
        }
        let track = song.tracks.len();
        let name = name.filter(|name| !name.is_empty());
        song.tracks.push(name.unwrap_or_else(|| format!("track {}", number.saturating_add(1))));
        song.notes.extend(notes.into_iter().map(|(start, end, key, velocity)| Note {
            start: start as f64 / ticks,
            length: end.saturating_sub(start) as f64 / ticks,
            key,
            velocity,
            track,
        }));
    }
    let order = |a: &Note, b: &Note| a.start.total_cmp(&b.start).then(a.track.cmp(&b.track)).then(a.key.cmp(&b.key));
    song.notes.sort_by(order);
    song.tempos.sort_by(|a, b| a.0.total_cmp(&b.0));
    song.bars.sort_by(|a, b| a.0.total_cmp(&b.0));
    song.note_count = song.notes.len();
    song.notes.truncate(MAX_NOTES);
    Some(song)
}

/// The name of a key: 60 is `C4`.
pub fn key_name(key: u8) -> String {
    const NAMES: [&str; 12] = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
    let name = NAMES.get(usize::from(key % 12)).copied().unwrap_or_default();
    format!("{name}{}", i16::from(key / 12).saturating_sub(1))
}

const fn is_black(key: u8) -> bool {
    matches!(key % 12, 1 | 3 | 6 | 8 | 10)
}

/// A number of beats without needless digits.
fn beats(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What has become of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Kept,
    Added,
    Removed,
}

impl Song {
    /// The last beat.
    fn end(&self) -> f64 {
        self.notes.iter().map(|note| note.start + note.length).fold(0.0, f64::max)
    }

    /// When a beat sounds, in seconds.
    fn seconds(&self, beat: f64) -> f64 {
        let mut seconds = 0.0;
        let (mut at, mut pace) = (0.0, 0.5);
        for (next, next_pace) in self.tempos.iter().take_while(|(next, _)| *next <= beat) {
            seconds += (next - at) * pace;
            (at, pace) = (*next, *next_pace);
        }
        seconds + (beat - at) * pace
    }

    /// Beats a minute at the beginning.
    fn tempo(&self) -> f64 {
        let pace = self.tempos.iter().take_while(|(at, _)| *at <= 0.0).last().map_or(0.5, |(_, pace)| *pace);
        if pace > 0.0 { 60.0 / pace } else { 120.0 }
    }

    /// What there is to say of it: `8 notes · 2 tracks · 6 beats · 120 bpm · 4/4 · C2 to C5 · 0:03`.
    pub fn summary(&self) -> String {
        let (beats_of_bar, unit) = self.signature;
        let mut parts =
            vec![text::count(self.note_count, "note", "notes"), text::count(self.tracks.len(), "track", "tracks")];
        if let (Some(low), Some(high)) =
            (self.notes.iter().map(|note| note.key).min(), self.notes.iter().map(|note| note.key).max())
        {
            let seconds = self.seconds(self.end()).clamp(0.0, 1e7) as u64;
            parts.push(format!("{} beats", beats(self.end())));
            parts.push(format!("{:.0} bpm", self.tempo()));
            parts.push(format!("{beats_of_bar}/{unit}"));
            parts.push(format!("{} to {}", key_name(low), key_name(high)));
            parts.push(format!("{}:{:02}", seconds / 60, seconds % 60));
        }
        parts.join(" · ")
    }

    /// Its notes as JSON: a list of `[second, seconds, key, velocity]`. Numbers alone, so nothing in it can be markup.
    pub fn json(&self) -> Markup {
        let mut json = "[".to_owned();
        for (at, note) in self.notes.iter().enumerate() {
            let start = self.seconds(note.start);
            let length = self.seconds(note.start + note.length) - start;
            let comma = if at > 0 { "," } else { "" };
            json.push_str(&format!("{comma}[{start:.3},{length:.3},{},{}]", note.key, note.velocity));
        }
        json.push(']');
        Safe(json)
    }

    /// A table of the first notes.
    pub fn table(&self) -> Markup {
        let mut markup =
            "<table class=\"list\"><thead><tr><th>Beat</th><th>Note</th><th>Beats long</th><th>Velocity</th>\
             <th>Track</th></tr></thead><tbody>"
                .to_owned();
        for note in self.notes.iter().take(MAX_LISTED) {
            markup.push_str(&format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>",
                beats(note.start),
                key_name(note.key),
                beats(note.length),
                note.velocity
            ));
            push_escaped(&mut markup, self.track(note.track));
            markup.push_str("</td></tr>");
        }
        markup.push_str("</tbody></table>");
        if self.note_count > MAX_LISTED {
            markup.push_str(&format!("<p class=\"muted\">The first {MAX_LISTED} of {} notes.</p>", self.note_count));
        }
        Safe(markup)
    }

    fn track(&self, number: usize) -> &str {
        self.tracks.get(number).map_or("", String::as_str)
    }

    /// The piano roll.
    pub fn roll(&self) -> Markup {
        let notes: Vec<(Note, Change)> = self.notes.iter().map(|note| (*note, Change::Kept)).collect();
        self.draw(&notes, false)
    }

    /// One piano roll of before and after: which notes came, went and stayed. Also how many came and went.
    pub fn changes(&self, before: &Self) -> (Markup, usize, usize) {
        // Notes are the same that sound the same in the track of the same name.
        let key = |song: &Self, note: &Note| {
            let tick = |beat: f64| (beat * 480.0).round() as i64;
            (song.track(note.track).to_owned(), tick(note.start), tick(note.length), note.key, note.velocity)
        };
        let mut left: HashMap<_, usize> = HashMap::new();
        for note in &before.notes {
            let count = left.entry(key(before, note)).or_default();
            *count = count.saturating_add(1);
        }
        let mut notes = Vec::new();
        for note in &self.notes {
            match left.get_mut(&key(self, note)).filter(|count| **count > 0) {
                Some(count) => {
                    *count = count.saturating_sub(1);
                    notes.push((*note, Change::Kept));
                }
                None => notes.push((*note, Change::Added)),
            }
        }
        for note in &before.notes {
            if let Some(count) = left.get_mut(&key(before, note)).filter(|count| **count > 0) {
                *count = count.saturating_sub(1);
                notes.push((*note, Change::Removed));
            }
        }
        let count = |of| notes.iter().filter(|(_, change)| *change == of).count();
        let (added, removed) = (count(Change::Added), count(Change::Removed));
        (self.draw(&notes, true), added, removed)
    }

    fn draw(&self, notes: &[(Note, Change)], is_diff: bool) -> Markup {
        let (Some(low), Some(high)) =
            (notes.iter().map(|(note, _)| note.key).min(), notes.iter().map(|(note, _)| note.key).max())
        else {
            return Safe("<p class=\"muted\">No notes.</p>".to_owned());
        };
        let (low, high) = (low.saturating_sub(3), high.saturating_add(3).min(127));
        let rows = u32::from(high.saturating_sub(low)).saturating_add(1);
        let row = if rows <= 40 { 10 } else { 7 };
        let height = rows.saturating_mul(row);
        let end = notes.iter().map(|(note, _)| note.start + note.length).fold(1.0, f64::max);
        // As wide as is good to read, but a short piece is not a narrow one, and a long one ends.
        let scale = ((BOX_WIDTH - 10.0) / end).clamp(28.0, 80.0).min(MAX_WIDTH / end);
        let width = (end * scale).ceil() + 2.0;
        let top = |key: u8| u32::from(high.saturating_sub(key)).saturating_mul(row);

        let mut keys = format!("<svg class=\"keys\" width=\"44\" height=\"{height}\" aria-hidden=\"true\">");
        let mut roll = format!("<svg class=\"roll\" width=\"{width}\" height=\"{height}\" aria-hidden=\"true\">");
        for key in low..=high {
            let y = top(key);
            if is_black(key) {
                keys.push_str(&format!("<rect class=\"kb\" y=\"{y}\" width=\"26\" height=\"{row}\"/>"));
                roll.push_str(&format!("<rect class=\"rb\" y=\"{y}\" width=\"100%\" height=\"{row}\"/>"));
            } else if key % 12 == 0 || key % 12 == 5 {
                let y = y.saturating_add(row);
                keys.push_str(&format!("<path class=\"kl\" d=\"M0 {y}h44\"/>"));
                roll.push_str(&format!("<line class=\"kl\" y1=\"{y}\" x2=\"100%\" y2=\"{y}\"/>"));
            }
            if key % 12 == 0 {
                let y = y.saturating_add(row).saturating_sub(1);
                keys.push_str(&format!("<text x=\"27\" y=\"{y}\">{}</text>", key_name(key)));
            }
        }
        keys.push_str("</svg>");
        for (at, number) in self.bar_lines(end.max(BOX_WIDTH / scale)) {
            let x = beats(at * scale);
            roll.push_str(&format!("<path class=\"bar\" d=\"M{x} 0v{height}\"/>"));
            // Past the last note the lines go on, without a number, so that the box is filled.
            if at >= end {
                continue;
            }
            roll.push_str(&format!("<text class=\"bn\" x=\"{}\" y=\"9\">{number}</text>", beats(at * scale + 3.0)));
        }
        for (note, change) in notes {
            let x = beats(note.start * scale);
            let wide = beats((note.length * scale - 1.0).max(2.0));
            let y = top(note.key);
            let class = match change {
                Change::Added => "added".to_owned(),
                Change::Removed => "removed".to_owned(),
                Change::Kept if is_diff => "kept".to_owned(),
                Change::Kept => format!("t{}", note.track % COLOURS),
            };
            let opacity = beats(0.4 + 0.6 * f64::from(note.velocity) / 127.0);
            let tall = row.saturating_sub(1);
            roll.push_str(&format!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\" rx=\"2\" fill-opacity=\"{opacity}\"/>"
            ));
        }
        roll.push_str(&format!(
            "<path class=\"now\" d=\"M0 0v0\" hidden=\"\" data-marks=\"{}\"/></svg>",
            self.marks(end, scale)
        ));
        Safe(format!("{keys}{roll}"))
    }

    /// Where the script draws the time while it plays: `[second, pixel]` at each change of tempo and at the end.
    fn marks(&self, end: f64, scale: f64) -> String {
        let changes = self.tempos.iter().map(|(at, _)| *at).filter(|at| *at > 0.0 && *at < end).take(MAX_MARKS);
        let marks: Vec<String> = std::iter::once(0.0)
            .chain(changes)
            .chain([end])
            .map(|at| format!("[{:.3},{}]", self.seconds(at), beats(at * scale)))
            .collect();
        format!("[{}]", marks.join(","))
    }

    /// Where bars begin until a beat, and their numbers.
    fn bar_lines(&self, end: f64) -> Vec<(f64, usize)> {
        let mut lines = Vec::new();
        let mut changes = self.bars.iter().peekable();
        let (mut at, mut bar, mut number) = (0.0, 4.0, 1_usize);
        let mut step = 1_usize;
        // In a long piece not every bar has a line.
        while (end / bar) / step as f64 > MAX_BARS as f64 {
            step = step.saturating_mul(2);
        }
        while at < end && lines.len() < MAX_BARS {
            while let Some((_, length)) = changes.next_if(|(change, _)| *change <= at) {
                bar = length.max(0.25);
            }
            lines.push((at, number));
            at += bar * step as f64;
            number = number.saturating_add(step);
        }
        lines
    }

    /// The names of the tracks, each with its colour.
    pub fn legend(&self) -> Markup {
        let mut markup = String::new();
        let mut named = HashSet::new();
        for (at, name) in self.tracks.iter().enumerate().take(32) {
            if named.insert((at % COLOURS, name)) {
                markup.push_str(&format!("<li><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect class=\"t{}\" width=\"12\" height=\"12\" rx=\"2\"/></svg> ", at % COLOURS));
                push_escaped(&mut markup, name);
                markup.push_str("</li>");
            }
        }
        Safe(markup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of one track with these events, each with its time before it.
    fn file(events: &[u8]) -> Vec<u8> {
        let mut bytes = b"MThd\0\0\0\x06\0\x01\0\x01\x01\xe0MTrk".to_vec();
        bytes.extend((events.len() as u32).to_be_bytes());
        bytes.extend(events);
        bytes
    }

    #[test]
    fn notes_have_keys_and_beats() {
        let song = read(&file(&[0, 0x90, 60, 100, 0x83, 0x60, 0x80, 60, 0, 0, 0x90, 63, 64])).unwrap();
        assert_eq!(song.notes.len(), 2);
        assert_eq!((song.notes[0].start, song.notes[0].length, song.notes[0].key), (0.0, 1.0, 60));
        assert_eq!(key_name(60), "C4");
        assert!(
            song.summary().starts_with("2 notes · 1 track · 1 beats · 120 bpm · 4/4 · C4 to D#4"),
            "{}",
            song.summary()
        );
        assert_eq!(song.json().0, "[[0.000,0.500,60,100],[0.500,0.000,63,64]]");
    }

    #[test]
    fn a_roll_of_changes_says_what_came_and_went() {
        let before = read(&file(&[0, 0x90, 60, 100, 0x83, 0x60, 0x80, 60, 0])).unwrap();
        let after = read(&file(&[0, 0x90, 62, 100, 0x83, 0x60, 0x80, 62, 0])).unwrap();
        let (roll, added, removed) = after.changes(&before);
        assert_eq!((added, removed), (1, 1));
        assert!(roll.0.contains("class=\"added\"") && roll.0.contains("class=\"removed\""));
        assert_eq!(after.changes(&after).1, 0);
    }

    #[test]
    fn a_roll_of_a_short_piece_fills_its_box() {
        let song = read(&file(&[0, 0x90, 60, 100, 0x83, 0x60, 0x80, 60, 0])).unwrap();
        let roll = song.roll().0;
        assert!(roll.contains("class=\"roll\" width=\"82\""), "{roll}");
        assert!(roll.contains("x=\"0\" y=\"30\" width=\"79\""), "{roll}");
        // Bars of four beats, each 80 pixels wide, and only the first is one of the piece.
        assert!(roll.contains("M960 0v") && !roll.contains("M1280 0v"), "{roll}");
        assert_eq!(roll.matches("class=\"bn\"").count(), 1);
    }

    #[test]
    fn a_time_code_of_no_frames_is_no_file() {
        let mut bytes = file(&[]);
        bytes[12] = 0x80;
        assert_eq!(read(&bytes), None);
    }

    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        if let Some(song) = read(bytes) {
            let most = bytes.len() * 60 + 60_000 + MAX_BARS * 80;
            for markup in
                [song.roll().0, song.changes(&Song::default()).0.0, song.table().0, song.legend().0, song.json().0]
            {
                prop_assert!(markup.len() <= most, "{} of {}", markup.len(), bytes.len());
                prop_assert!(!markup.contains("NaN") && !markup.contains("inf"));
            }
            prop_assert!(song.summary().len() < 1000);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_track_can_be_drawn(events in prop::collection::vec(any::<u8>(), 0..400)) {
            check(&file(&events))?;
        }

        #[test]
        fn every_file_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..100), division in any::<[u8; 2]>()) {
            check(&bytes)?;
            let mut header = file(&bytes);
            header[12..14].copy_from_slice(&division);
            check(&header)?;
        }
    }
}
