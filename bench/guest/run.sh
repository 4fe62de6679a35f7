# SPDX-License-Identifier: GPL-2.0
# What the VM of `make bench` runs.
exec /in/guest
