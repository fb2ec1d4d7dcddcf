"""What every setting of the preparation means, in one place: for forms, YAML and the command line.

A module of its own, so that ``--help`` opens without the libraries of the settings.
"""

from __future__ import annotations

DESCRIPTIONS = {
    "frame": "Pattern of a stack to take, counted from 0; -1 takes all.",
    "sum_frames": "Sum the patterns of a stack, which repeat one measurement.",
    "outlier_sigma": (
        "Values of a sum further than so many standard deviations from the median frame are left out; 0 keeps all."
    ),
    "amplitude": "Whether the file holds amplitudes, to be squared; auto guesses.",
    "fft_order": "Whether the zero frequency is stored in the corner; auto guesses.",
    "invert_mask": "The mask marks good pixels, not bad ones.",
    "allow_masked": "Accept more than 90 % masked pixels.",
    "saturation": "Stored values from here on are saturated; 0 finds the level where the values end.",
    "grow_px": "Mask so many pixels around saturated ones too.",
    "hot_dead": "Find hot and dead pixels.",
    "background": (
        'What is subtracted: "none", a level in stored units, "auto" (the level of the dimmest part), or '
        '"radial" (a low quantile at every distance from the centre).'
    ),
    "center": 'Zero frequency: "auto" (by Friedel symmetry), "keep" (index n // 2), or Y,X in stored pixels.',
    "fit": "How the centre comes to n // 2: crop the longer sides, or pad the shorter with free pixels.",
    "size": (
        'Size of the new frame in new pixels: "auto" (all there is, to a size that FFTs are fast for), "keep"'
        " (all there is), N or NY,NX (cropped or padded with free pixels)."
    ),
    "binning": "Sum so many by so many pixels into one.",
    "bin_share": "A binned pixel is bad when more than this share of its pixels is bad.",
    "gap_tolerance": "Fill bad pixels whose amplitude their surroundings tell to this relative error; 0 leaves all.",
    "gain": "Stored units per photon; 0 estimates it where the data tell.",
}
