"""What happens to images on their way to the discriminator."""
