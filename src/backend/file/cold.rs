//! What is asked of a file or device beside the cores.

use super::{FileHandle, FileMedium};
use crate::backend::contract::{AtCore, Cold, Configured, Opened, PathIs};
use crate::backend::error::OpenError;
use crate::backend::open::{self, Caching};
use crate::backend::properties::Fit;
use crate::backend::size::Size;
use crate::backend::verdict::{self, Identity, Remark};
use crate::backend::{mark, sys};
use crate::model::{Backing, LunKind, LunSpec, Space};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

impl FileMedium {
    /// Whether it is a regular file that has fewer bytes than a medium of `bytes` bytes needs.
    fn is_shorter_than(&self, bytes: u64) -> bool {
        self.is_regular && self.file.metadata().is_ok_and(|metadata| metadata.len() < self.stored_bytes(bytes))
    }

    /// Where its map has data and holes: as [`Cold::allocated`].
    fn mapped(&self, offset: u64, len: u64, block_bytes: u32) -> io::Result<(bool, u64)> {
        let block = u64::from(block_bytes);
        let data = match sys::seek_data(&self.file, offset) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok((false, len)),
            // Block devices and simple file systems do not know.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
                return Ok((true, len));
            }
            Err(error) => return Err(error),
        };
        // A block is in a hole only with all of its bytes.
        let hole_bytes = data.saturating_sub(offset) / block * block;
        if hole_bytes > 0 {
            return Ok((false, hole_bytes.min(len)));
        }
        let hole = sys::seek_hole(&self.file, data)?;
        let mapped_bytes = hole.saturating_sub(offset).checked_next_multiple_of(block).unwrap_or(len);
        Ok((true, mapped_bytes.clamp(block, len)))
    }
}

impl Cold for FileMedium {
    type Hot = FileHandle;

    fn hot(self: &Arc<Self>, at: &AtCore) -> FileHandle {
        FileHandle::new(Arc::clone(self), Arc::clone(at.size))
    }

    fn sync(&self) -> io::Result<()> {
        if self.readonly { Ok(()) } else { self.file.sync_data() }
    }

    fn asked(&self, spec: &LunSpec, size: &Size) -> Result<u64, OpenError> {
        match &spec.kind {
            // A file that was cut short would be made longer again, and what is gone would read as zeroes.
            LunKind::File(path) if self.is_whole(size) => open::asked(self, path, spec),
            _ => Ok(size.bytes()),
        }
    }

    fn fit(&self, spec: &LunSpec, size: &Size) -> Result<Fit, OpenError> {
        match &spec.kind {
            LunKind::File(path) if self.is_whole(size) => open::fit(self, path, spec),
            _ => Ok(Fit { bytes: self.asked(spec, size)?, grown_from: None }),
        }
    }

    fn ungrow(&self, fit: &Fit) -> io::Result<()> {
        fit.grown_from.map_or(Ok(()), |from| self.file.set_len(from))
    }

    fn undo(&self, path: &Path) -> io::Result<()> {
        self.begun.undo(&self.file, path)
    }

    fn has_grown(&self) -> bool {
        self.begun.has_grown()
    }

    fn is_whole(&self, size: &Size) -> bool {
        if size.is_whole() && self.is_shorter_than(size.bytes()) {
            size.cut();
        }
        size.is_whole()
    }

    fn is_at(&self, path: &Path) -> bool {
        mark::is_at(&self.file, path)
    }

    fn has_double(&self, path: &Path) -> bool {
        let both = mark::of(&self.file).zip(mark::at(path));
        !self.is_at(path) && both.is_some_and(|(own, other)| mark::are_doubles(&own, &other))
    }

    fn backing(&self, spec: &LunSpec) -> Option<Backing> {
        let LunKind::File(path) = &spec.kind else { return None };
        Some(Backing { path: mark::absolute(path), mark: mark::of(&self.file), lasts: true })
    }

    fn lasts(&self) -> bool {
        true
    }

    fn is_regular_file(&self) -> bool {
        self.is_regular
    }

    fn space(&self) -> io::Result<Option<Space>> {
        let metadata = self.file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let used_bytes = metadata.blocks().saturating_mul(512);
        Ok(Some(Space { used_bytes, available_bytes: sys::available_bytes(&self.file)? }))
    }

    fn is_cached(&self, offset: u64, len: u64) -> Option<bool> {
        sys::cached_pages(&self.file, offset, len).ok().map(|pages| pages > 0)
    }

    fn allocated(&self, offset: u64, len: u64, block_bytes: u32, size: &Size) -> io::Result<(bool, u64)> {
        let found = self.mapped(offset, len, block_bytes)?;
        // What was cut off is no hole. It is answered as mapped, so that it is read, and the read fails.
        Ok(if self.is_whole(size) { found } else { (true, len) })
    }
}

impl Configured for FileMedium {
    const PATH: PathIs = PathIs::File;

    fn open(spec: &LunSpec) -> Result<Opened<FileMedium>, OpenError> {
        match &spec.kind {
            LunKind::File(path) => open::open(path, spec, Caching::DirectIfPossible),
            other => Err(OpenError::Kind { word: other.word() }),
        }
    }

    fn look(spec: &LunSpec) -> Result<Option<Identity>, OpenError> {
        match &spec.kind {
            LunKind::File(path) => verdict::look(path, spec).map(Some),
            other => Err(OpenError::Kind { word: other.word() }),
        }
    }

    fn remarks(spec: &LunSpec) -> Vec<Remark> {
        match &spec.kind {
            LunKind::File(path) => verdict::remarks(path, spec),
            _ => Vec::new(),
        }
    }
}
