//! Sequential JPEGs at 1/8, 1/4 or 1/2 of their size: of each block's 64 coefficients only the lowest frequencies are
//! transformed, and only of blocks that the model sees; the rest is stepped over. What it does not know (progressive,
//! arithmetic, CMYK, several scans) is left to a whole decoder.

use super::bits::{Bits, Scan};
use super::header::{Header, Process};
use super::huffman::{Steps, Table};
use super::transform::Transform;
use std::ops::Range;

/// One decoded component: the window's blocks at their scale.
pub(super) struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

/// The picture's window that was decoded, in pixels of the full image: whole MCUs.
pub(super) struct Window {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
    /// Luminance, or luminance and both differences of colour.
    pub planes: Vec<Plane>,
}

/// What is wanted of an image.
pub(super) struct Wanted {
    /// 1, 2 or 4 pixels for 8.
    pub scale: usize,
    pub columns: Range<f64>,
    pub rows: Range<f64>,
}

struct Channel<'a> {
    horizontal: usize,
    vertical: usize,
    dc: usize,
    ac: usize,
    transform: Transform,
    table: &'a [u16; 64],
    plane: Plane,
    last_dc: i32,
}

/// Whether [`decode`] knows how.
pub(super) fn knows(header: &Header<'_>) -> bool {
    let factor = |n: usize| matches!(n, 1 | 2 | 4);
    let components = &header.components;
    // RGB and CMYK are rare; one transform code of Adobe says "no transform".
    let colours = components.len() == 1 || components.len() == 3 && header.adobe != Some(0);
    let named_rgb = components.len() == 3 && header.adobe.is_none() && components_are_rgb(header);
    let first = components.first();
    header.process == Process::Sequential
        && colours
        && !named_rgb
        && header.scan.len() == components.len()
        && components.iter().all(|c| factor(c.horizontal) && factor(c.vertical))
        && first.is_some_and(|y| components.iter().all(|c| c.horizontal <= y.horizontal && c.vertical <= y.vertical))
}

/// Without Adobe's marker, components called R, G and B are just that.
fn components_are_rgb(header: &Header<'_>) -> bool {
    header.components.iter().map(|component| component.id).eq(*b"RGB")
}

/// Decodes the window that holds what is wanted; `None` where the data is broken.
pub(super) fn decode(header: &Header<'_>, wanted: &Wanted) -> Option<Window> {
    let single = header.components.len() == 1;
    // A scan of one component has no interleaving, whatever its factors say.
    let (widest, highest) =
        if single { (1, 1) } else { (header.components[0].horizontal, header.components[0].vertical) };
    let (mcu_width, mcu_height) = (8 * widest as u32, 8 * highest as u32);
    let (across, down) = (header.width.div_ceil(mcu_width) as usize, header.height.div_ceil(mcu_height) as usize);
    let columns = window(&wanted.columns, mcu_width, across);
    let rows = window(&wanted.rows, mcu_height, down);
    let tables = Tables::new(header)?;
    let mut channels = Vec::new();
    for (place, dc, ac) in &header.scan {
        let component = header.components[*place];
        let (horizontal, vertical) = if single { (1, 1) } else { (component.horizontal, component.vertical) };
        // Subsampled colour gets more of its frequencies instead of pixels made up in between.
        let (x, y) = (wanted.scale * widest / horizontal, wanted.scale * highest / vertical);
        let transform = Transform::new(x.min(4).max(wanted.scale), y.min(4).max(wanted.scale));
        let width = columns.len() * horizontal * transform.width();
        let height = rows.len() * vertical * transform.height();
        let plane = Plane { width, height, data: vec![0; width * height] };
        let table = header.quantization.get(component.quantization)?.as_ref()?;
        channels.push(Channel { horizontal, vertical, dc: *dc, ac: *ac, transform, table, plane, last_dc: 0 });
    }
    let scan = Scan::new(header.data);
    let every = if header.restart == 0 { usize::MAX } else { header.restart };
    let (mut bits, mut interval, mut left) = (scan.interval(0)?, 0, every);
    // Rows below the window are not even read.
    for row in 0..rows.end {
        for column in 0..across {
            if left == 0 {
                if bits.overrun() {
                    return None;
                }
                interval += 1;
                (bits, left) = (scan.interval(interval)?, every);
                for channel in &mut channels {
                    channel.last_dc = 0;
                }
            }
            left -= 1;
            let seen = row >= rows.start && columns.contains(&column);
            let place = seen.then(|| (column - columns.start, row - rows.start));
            for channel in &mut channels {
                channel.mcu(&tables, &mut bits, place)?;
            }
        }
        if bits.overrun() {
            return None;
        }
    }
    Some(Window {
        left: columns.start as u32 * mcu_width,
        top: rows.start as u32 * mcu_height,
        width: columns.len() as u32 * mcu_width,
        height: rows.len() as u32 * mcu_height,
        planes: channels.into_iter().map(|channel| channel.plane).collect(),
    })
}

/// MCUs that hold a range of pixels, at least one.
fn window(wanted: &Range<f64>, size: u32, count: usize) -> Range<usize> {
    let first = (wanted.start.max(0.0) / f64::from(size)) as usize;
    let first = first.min(count.saturating_sub(1));
    let last = (wanted.end.max(0.0) / f64::from(size)).ceil() as usize;
    first..last.clamp(first + 1, count.max(first + 1))
}

struct Tables<'a> {
    dc: [Option<Table<'a>>; 4],
    ac: [Option<(Table<'a>, Steps)>; 4],
}

impl<'a> Tables<'a> {
    fn new(header: &Header<'a>) -> Option<Tables<'a>> {
        let mut tables = Tables { dc: [None, None, None, None], ac: [None, None, None, None] };
        for (_, dc, ac) in &header.scan {
            if tables.dc.get(*dc)?.is_none() {
                tables.dc[*dc] = Some(Table::new(header.huffman[0][*dc]?)?);
            }
            if tables.ac.get(*ac)?.is_none() {
                let table = Table::new(header.huffman[1][*ac]?)?;
                let steps = Steps::new(&table);
                tables.ac[*ac] = Some((table, steps));
            }
        }
        Some(tables)
    }
}

impl Channel<'_> {
    /// Reads this component's blocks of one MCU; draws them where the MCU has a place in the window.
    fn mcu(&mut self, tables: &Tables<'_>, bits: &mut Bits<'_>, place: Option<(usize, usize)>) -> Option<()> {
        for row in 0..self.vertical {
            for column in 0..self.horizontal {
                let block = place.map(|(x, y)| (x * self.horizontal + column, y * self.vertical + row));
                self.block(tables, bits, block)?;
            }
        }
        Some(())
    }

    #[inline]
    fn block(&mut self, tables: &Tables<'_>, bits: &mut Bits<'_>, place: Option<(usize, usize)>) -> Option<()> {
        let (table, steps) = tables.ac[self.ac].as_ref()?;
        bits.refill();
        let size = tables.dc[self.dc].as_ref()?.symbol(bits)?;
        if size > 15 {
            return None;
        }
        self.last_dc = self.last_dc.wrapping_add(bits.signed(u32::from(size)));
        let Some(place) = place else { return steps.over(table, bits, 1).then_some(()) };
        let mut coefficients = [0.0; 16];
        coefficients[0] = self.last_dc as f32 * f32::from(self.table[0]);
        let (mut at, last) = (1, self.transform.last());
        while at <= last {
            bits.refill();
            let symbol = table.symbol(bits)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                // Sixteen zeros, or no more coefficients.
                at = if run == 15 { at + 16 } else { 64 };
                continue;
            }
            at += run;
            let value = bits.signed(size);
            if let Some(kept) = self.transform.place(at) {
                coefficients[kept] = value as f32 * f32::from(self.table[at as usize]);
            }
            at += 1;
        }
        if !steps.over(table, bits, at) {
            return None;
        }
        self.transform.draw(&coefficients, &mut self.plane, place);
        Some(())
    }
}
