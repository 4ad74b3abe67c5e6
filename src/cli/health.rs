//! `bellows health`: exit 0 where an upload would be accepted now, else 69 and why.
