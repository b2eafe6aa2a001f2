"""Upstreams: `fused` makes several look like one, `whisper` adds the one that s3prl's hub lacks."""
