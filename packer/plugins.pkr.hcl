# Debian's packer 1.6.6 has the amazon plugin built in and refuses this block; the tests leave this file out.
packer {
  required_version = ">= 1.9.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}
