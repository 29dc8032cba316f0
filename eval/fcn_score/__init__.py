"""The FCN-score: how well a segmenter of real photos reads made ones, and label maps their colours.

Isola et al. 2017, §4.1; Zhu et al. 2017, §5.1.1. A segmenter of ours takes the place of the
published Caffe network, so every score stands beside that segmenter's own on real photos, and
numbers of two segmenters do not share a table.
"""
