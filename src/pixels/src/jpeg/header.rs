//! The segments of a JPEG before its first scan, and whether it has an end (ITU-T T.81, annex B).

/// What the header says. Slices point into the file.
pub(super) struct Header<'a> {
    pub width: u32,
    pub height: u32,
    pub process: Process,
    pub components: Vec<Component>,
    /// Quantization tables in zigzag order.
    pub quantization: [Option<[u16; 64]>; 4],
    /// Huffman tables: DC, then AC.
    pub huffman: [[Option<CodeLengths<'a>>; 4]; 2],
    /// MCUs between restart markers, 0 for none.
    pub restart: usize,
    /// APP14's colour transform, where there is one.
    pub adobe: Option<u8>,
    /// The TIFF structure of the first APP1 of EXIF.
    pub exif: Option<&'a [u8]>,
    /// Components of the first scan, in its order: index, DC table, AC table.
    pub scan: Vec<(usize, usize, usize)>,
    /// Entropy-coded data of the first scan, and all that follows.
    pub data: &'a [u8],
}

/// How coefficients are coded, as far as we tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// Sequential, Huffman, 8 bits: nearly every camera's.
    Sequential,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub id: u8,
    pub horizontal: usize,
    pub vertical: usize,
    pub quantization: usize,
}

/// A Huffman table as it is written: how many codes of each length, and their symbols.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeLengths<'a> {
    pub counts: &'a [u8; 16],
    pub symbols: &'a [u8],
}

const EXIF: &[u8] = b"Exif\0\0";
const CUT: &str = "it ends within its header";

impl<'a> Header<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Header<'a>, &'static str> {
        let mut header = Header {
            width: 0,
            height: 0,
            process: Process::Other,
            components: Vec::new(),
            quantization: [None; 4],
            huffman: [[None; 4]; 2],
            restart: 0,
            adobe: None,
            exif: None,
            scan: Vec::new(),
            data: &[],
        };
        let mut rest = bytes.get(2..).ok_or(CUT)?;
        loop {
            let (marker, segment, after) = segment(rest)?;
            rest = after;
            match marker {
                0xc4 => header.huffman_tables(segment)?,
                // The rest of this row are frames, but for 0xc8 (reserved) and 0xcc (arithmetic conditioning).
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => header.frame(marker, segment)?,
                0xdb => header.quantization_tables(segment)?,
                0xdd => header.restart = usize::from(be16(segment, 0)?),
                0xe1 if segment.starts_with(EXIF) => {
                    header.exif.get_or_insert(&segment[EXIF.len()..]);
                }
                0xee if segment.starts_with(b"Adobe") => header.adobe = segment.get(11).copied(),
                0xda => {
                    header.scan(segment)?;
                    header.data = rest;
                    return Ok(header);
                }
                0xd9 => return Err("it has no picture"),
                _ => {}
            }
        }
    }

    fn frame(&mut self, marker: u8, segment: &[u8]) -> Result<(), &'static str> {
        if !self.components.is_empty() {
            return Err("it has two frames");
        }
        let precision = *segment.first().ok_or(CUT)?;
        (self.height, self.width) = (be16(segment, 1)?.into(), be16(segment, 3)?.into());
        let count = usize::from(*segment.get(5).ok_or(CUT)?);
        let components = segment.get(6..6 + 3 * count).ok_or(CUT)?;
        self.components = components
            .chunks_exact(3)
            .map(|c| Component {
                id: c[0],
                horizontal: usize::from(c[1] >> 4),
                vertical: usize::from(c[1] & 15),
                quantization: usize::from(c[2]),
            })
            .collect();
        if self.width == 0 || self.height == 0 || count == 0 {
            return Err("it has no dimensions");
        }
        if matches!(marker, 0xc0 | 0xc1) && precision == 8 {
            self.process = Process::Sequential;
        }
        Ok(())
    }

    fn quantization_tables(&mut self, mut segment: &[u8]) -> Result<(), &'static str> {
        while let Some((&kind, rest)) = segment.split_first() {
            let (wide, place) = (kind >> 4 != 0, usize::from(kind & 15));
            let length = if wide { 128 } else { 64 };
            let values = rest.get(..length).ok_or(CUT)?;
            segment = &rest[length..];
            let table = self.quantization.get_mut(place).ok_or("it has an unknown quantization table")?;
            *table = Some(std::array::from_fn(|i| {
                if wide { u16::from_be_bytes([values[2 * i], values[2 * i + 1]]) } else { values[i].into() }
            }));
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut segment: &'a [u8]) -> Result<(), &'static str> {
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(CUT)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(..total).ok_or(CUT)?;
            segment = &rest[total..];
            let tables = self.huffman.get_mut(usize::from(kind >> 4)).ok_or("it has an unknown Huffman table")?;
            let table = tables.get_mut(usize::from(kind & 15)).ok_or("it has an unknown Huffman table")?;
            *table = Some(CodeLengths { counts, symbols });
        }
        Ok(())
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), &'static str> {
        let count = usize::from(*segment.first().ok_or(CUT)?);
        let components = segment.get(1..1 + 2 * count).ok_or(CUT)?;
        for component in components.chunks_exact(2) {
            let place = self.components.iter().position(|c| c.id == component[0]);
            let place = place.ok_or("its scan has a component that its frame has not")?;
            self.scan.push((place, usize::from(component[1] >> 4), usize::from(component[1] & 15)));
        }
        Ok(())
    }
}

/// The next marker, its segment (empty where it has none) and what follows.
fn segment(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), &'static str> {
    let start = memchr::memchr(0xff, bytes).ok_or(CUT)?;
    let fill = bytes[start..].iter().position(|byte| *byte != 0xff).ok_or(CUT)?;
    let (marker, rest) = bytes[start + fill..].split_first().ok_or(CUT)?;
    if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd9) {
        return Ok((*marker, &[], rest));
    }
    let length = usize::from(be16(rest, 0)?);
    let segment = rest.get(2..length.max(2)).ok_or(CUT)?;
    Ok((*marker, segment, &rest[length.max(2)..]))
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, &'static str> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).ok_or(CUT)
}

/// Whether the end mark comes, after entropy-coded data and all that may stand between scans. Decoders fill what a
/// truncated file lacks with grey and say nothing.
pub(super) fn has_end(mut data: &[u8]) -> bool {
    while let Some(place) = memchr::memchr(0xff, data) {
        match data.get(place + 1) {
            Some(0xd9) => return true,
            // A stuffed byte, a restart, a fill byte.
            Some(0x00 | 0x01 | 0xd0..=0xd7) => data = &data[place + 2..],
            Some(0xff) => data = &data[place + 1..],
            Some(_) => match segment(&data[place..]) {
                Ok((_, _, rest)) => data = rest,
                Err(_) => return false,
            },
            None => return false,
        }
    }
    false
}
