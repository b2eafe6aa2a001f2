"""What the demo does to recordings: speeds, four acted styles, and two recording channels. Arrays are (T,) float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..waveforms import SAMPLE_RATE


@dataclass(frozen=True)
class Style:
    """A speaking style as changes to a neutral recording; `spread` is the clip-to-clip deviation of the same."""

    pitch: float  # semitones
    tempo: float  # factor on the speaking rate
    gain: float  # dB
    tilt: float  # dB per octave around 1 kHz
    spread: tuple[float, float, float, float] = (1.0, 0.07, 2.5, 0.9)


# Directions as in acted speech: joy is higher and livelier, anger louder, faster and brighter, sadness the opposite.
STYLES = {
    "neu": Style(pitch=0.0, tempo=1.0, gain=0.0, tilt=0.0),
    "hap": Style(pitch=2.5, tempo=1.1, gain=3.0, tilt=0.5),
    "ang": Style(pitch=0.8, tempo=1.2, gain=7.0, tilt=2.5),
    "sad": Style(pitch=-1.8, tempo=0.85, gain=-6.0, tilt=-2.0),
}


@dataclass(frozen=True)
class Channel:
    """A recording condition: ranges from which each clip draws its own."""

    highpass: tuple[float, float]  # Hz
    lowpass: tuple[float, float]  # Hz
    snr: tuple[float, float]  # dB, of added pink noise


CHANNELS = {
    "studio": Channel(highpass=(40.0, 120.0), lowpass=(5000.0, 7600.0), snr=(18.0, 35.0)),
    "telephone": Channel(highpass=(100.0, 240.0), lowpass=(3800.0, 5500.0), snr=(16.0, 27.0)),
}


def _shape(wav: np.ndarray, response: np.ndarray) -> np.ndarray:
    return np.fft.irfft(np.fft.rfft(wav) * response, n=len(wav)).astype(np.float32)


def _limit(wav: np.ndarray) -> np.ndarray:
    """Scale down where 16-bit files would clip."""
    return (wav / max(1.0, float(np.abs(wav).max()) / 0.99)).astype(np.float32)


def play(wav: np.ndarray, speed: float) -> np.ndarray:
    """Play a recording faster or slower, its pitch with it: (T,) to (about T / speed,), 16 kHz."""
    import librosa

    return _limit(librosa.resample(wav, orig_sr=SAMPLE_RATE * speed, target_sr=SAMPLE_RATE, res_type="soxr_mq"))


def act(wav: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Render a neutral recording in a style.

    Pitch and tempo share one phase vocoder: stretch by tempo/shift, then resample by the shift.

    Args:
        wav: (T,) samples at 16 kHz.
        style: Mean changes; each clip deviates by a normal draw times `style.spread`.
        rng: Source of the deviations.

    Returns:
        (about T / tempo,) samples at 16 kHz.
    """
    import librosa

    deviation = rng.standard_normal(4).clip(-2, 2) * style.spread
    pitch, tempo, gain, tilt = np.array([style.pitch, style.tempo, style.gain, style.tilt]) + deviation
    shift = 2.0 ** (pitch / 12)
    wav = librosa.effects.time_stretch(wav, rate=tempo / shift, n_fft=1024)
    wav = librosa.resample(wav, orig_sr=SAMPLE_RATE * shift, target_sr=SAMPLE_RATE, res_type="soxr_mq")
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(wav), 1 / SAMPLE_RATE), 60.0) / 1000.0)
    return _limit(_shape(wav, 10 ** ((tilt * octaves + gain) / 20)))


def transmit(wav: np.ndarray, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    """Band-limit a recording and add pink noise, both drawn from a channel's ranges. (T,) to (T,), 16 kHz."""
    frequencies = np.fft.rfftfreq(len(wav), 1 / SAMPLE_RATE)
    low, high, snr = (rng.uniform(*limits) for limits in (channel.highpass, channel.lowpass, channel.snr))
    squared = frequencies**2
    response = 1 / np.sqrt((1 + (low**2 / np.maximum(squared, 1.0)) ** 3) * (1 + (squared / high**2) ** 6))
    wav = _shape(wav, response)
    noise = _shape(rng.standard_normal(len(wav)), 1 / np.sqrt(np.maximum(frequencies, 50.0)))
    power = float(np.mean(wav**2)) / max(float(np.mean(noise**2)), 1e-12)
    return _limit(wav + noise * np.sqrt(power / 10 ** (snr / 10)))
