"""The one file most tests need: two megabytes, so that it takes several blocks to send."""

DANDISET = "000999"
VERSION = "0.240101.0000"
PATH = "sub-A/sub-A_ses-1.nwb"
NWB = bytes(range(256)) * 8192
