"""Colors of a hand: sampled from the photograph, or regressed and fitted to it; as a texture picture too."""
