"""The replay check, and the zoo of honest and cheating generators it is proved on."""
