"""Upstreams: `fused` makes several look like one, `transformers` and `whisper` add those that s3prl's hub lacks."""
