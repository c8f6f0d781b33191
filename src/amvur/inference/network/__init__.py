"""What a trained network says of hands, and how its word is weighed."""
