"""What an instance is made of: a disk, a metadata service, and the boot script as a real process."""
