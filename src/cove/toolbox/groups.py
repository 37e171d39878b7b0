# SPDX-License-Identifier: Apache-2.0
"""Which programs belong together, which packages they come from, how to ask their version. Pure data."""

from __future__ import annotations

from collections.abc import Mapping

from cove.errors import NotFoundError
from cove.toolbox.model import Group, Program

DROPPED = (
    "etc/init.d",
    "usr/share/bash-completion",
    "usr/share/fish",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zsh",
)
"""What no program here reads. Copyright files stay."""

_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
    "/opt/homebrew/lib/docker/cli-plugins",
)
_SBIN = ("/usr/sbin", "/sbin")
_PLUGINS = "usr/libexec/docker/cli-plugins"

DOCKER = Group(
    name="docker",
    packages=("docker-cli", "docker-compose", "docker-buildx"),
    brew=("docker", "docker-compose", "docker-buildx"),
    programs=(
        Program(
            name="docker", path="usr/bin/docker", package="docker-cli", minimum=(20, 10), wrapped=True,
        ),
        Program(
            name="docker-compose", path=f"{_PLUGINS}/docker-compose", package="docker-compose",
            minimum=(2, 0), ask=("version",), wrapped=True, elsewhere=_PLUGIN_FOLDERS,
        ),
        Program(
            name="docker-buildx", path=f"{_PLUGINS}/docker-buildx", package="docker-buildx",
            minimum=(0, 8), ask=("version",), wrapped=True, elsewhere=_PLUGIN_FOLDERS,
        ),
    ),
)  # fmt: skip

NET = Group(
    name="net",
    packages=("gvproxy",),
    programs=(
        Program(
            name="gvproxy", path="usr/bin/gvproxy", package="gvproxy", minimum=(0, 7, 4), ask=("-version",),
            elsewhere=("/usr/libexec/podman", "/usr/lib/podman"),
        ),
    ),
    brew=("podman",),
)  # fmt: skip

UML = Group(
    name="uml",
    packages=("user-mode-linux",),
    # it derives its memory map from where its heap begins, which a loader that is the program moves
    programs=(
        Program(
            name="linux.uml", path="usr/bin/linux.uml", package="user-mode-linux",
            minimum=(6, 1), patched=True,
        ),
    ),
    # the guest's image brings its own copy of the modules
    drop=("usr/lib/uml",),
)  # fmt: skip

_QEMU_ENV = {"QEMU_MODULE_DIR": "{lib}/qemu"}

# what QEMU's modules for sound, braille, smart cards, USB devices and text windows need, boot ROMs of network
# cards (ours have none), and what packages' installation scripts would need; checked against the NEEDED entries
# of the programs: none of them is reached
_QEMU_EXCLUDE = (
    "adduser", "base-passwd", "debconf", "ipxe-qemu", "libasound2t64", "libbrlapi0.8", "libcacard0",
    "libncursesw6", "libsasl2-modules-db", "libsystemd0", "libtinfo6", "libusb-1.0-0",
    "libusbredirparser1t64", "openssl-provider-legacy", "passwd",
)  # fmt: skip
_QEMU_DROP = (
    "usr/lib/aarch64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/perl", "usr/share/perl5",
    "usr/share/qemu/trace-events-all",
)  # fmt: skip

QEMU = Group(
    name="qemu",
    packages=("qemu-system-x86",),
    programs=(
        Program(
            name="qemu-system-x86_64", path="usr/bin/qemu-system-x86_64", package="qemu-system-x86",
            minimum=(7, 2), env=_QEMU_ENV,
        ),
    ),
    exclude=_QEMU_EXCLUDE,
    drop=(*_QEMU_DROP, "usr/bin/qemu-system-i386", "usr/bin/qemu-system-x86_64-microvm"),
    brew=("qemu",),
)  # fmt: skip

QEMU_ARM = Group(
    name="qemu-arm",
    packages=("qemu-system-arm",),
    programs=(
        Program(
            name="qemu-system-aarch64", path="usr/bin/qemu-system-aarch64", package="qemu-system-arm",
            minimum=(8, 2, 1), env=_QEMU_ENV,
        ),
    ),
    exclude=_QEMU_EXCLUDE,
    # a machine that boots a kernel itself needs no firmware
    drop=(*_QEMU_DROP, "usr/bin/qemu-system-arm", "usr/share/AAVMF", "usr/share/qemu-efi-aarch64"),
    brew=("qemu",),
)  # fmt: skip

VZ = Group(
    name="vz",
    packages=(),
    # macOS alone has what it drives, so there is no Debian package of it
    programs=(Program(name="vfkit", path="usr/bin/vfkit", package="vfkit", minimum=(0, 6, 4)),),
    brew=("vfkit",),
)

QEMU_UTILS = Group(
    name="qemu-utils",
    packages=("qemu-utils",),
    programs=(
        Program(
            name="qemu-img", path="usr/bin/qemu-img", package="qemu-utils", minimum=(7, 2), env=_QEMU_ENV,
        ),
    ),
    exclude=("libfuse3-4",),
    brew=("qemu",),
)  # fmt: skip

IMAGE = Group(
    name="image",
    packages=("erofs-utils", "e2fsprogs"),
    programs=(
        # 1.7 is the first whose tarballs become the same image every time
        Program(name="mkfs.erofs", path="usr/bin/mkfs.erofs", package="erofs-utils", minimum=(1, 7)),
        Program(name="fsck.erofs", path="usr/bin/fsck.erofs", package="erofs-utils", minimum=(1, 7)),
        Program(
            name="mke2fs", path="usr/sbin/mke2fs", package="e2fsprogs", minimum=(1, 46), ask=("-V",),
            env={"MKE2FS_CONFIG": "{root}/etc/mke2fs.conf"}, elsewhere=_SBIN,
        ),
        Program(
            name="e2fsck", path="usr/sbin/e2fsck", package="e2fsprogs", minimum=(1, 46), ask=("-V",),
            elsewhere=_SBIN,
        ),
        Program(
            name="resize2fs", path="usr/sbin/resize2fs", package="e2fsprogs", minimum=(1, 46), ask=(),
            elsewhere=_SBIN,
        ),
        Program(
            name="debugfs", path="usr/sbin/debugfs", package="e2fsprogs", minimum=(1, 46), ask=("-V",),
            elsewhere=_SBIN,
        ),
    ),
    exclude=("logsave",),
    brew=("erofs-utils", "e2fsprogs"),
)  # fmt: skip

SHARE = Group(
    name="share",
    packages=("virtiofsd",),
    programs=(
        Program(
            name="virtiofsd", path="usr/libexec/virtiofsd", package="virtiofsd", minimum=(1, 5),
            elsewhere=("/usr/libexec", "/usr/lib", "/usr/lib/qemu", "/usr/lib/virtiofsd"),
        ),
    ),
    # its helpers gain rights by being set-uid, which nothing unpacked here can be
    exclude=("uidmap",),
)  # fmt: skip

UEFI = Group(
    name="uefi",
    packages=("ovmf",),
    programs=(),
    # secure boot, other machines, and forms of the same that are not used
    drop=(
        "usr/share/OVMF/OVMF_CODE_4M.ms.fd", "usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        "usr/share/OVMF/OVMF_CODE_4M.secboot.strictnx.fd", "usr/share/OVMF/OVMF_CODE_4M.snakeoil.fd",
        "usr/share/OVMF/OVMF_VARS_4M.ms.fd", "usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd", "usr/share/ovmf",
    ),
)  # fmt: skip

UEFI_ARM = Group(name="uefi-arm", packages=("qemu-efi-aarch64",), programs=())

BOOT_BIOS = Group(
    name="boot-bios",
    packages=("syslinux", "syslinux-common", "isolinux", "mtools"),
    programs=(
        Program(
            name="syslinux", path="usr/bin/syslinux", package="syslinux", minimum=(6, 3),
            env={"PATH": "{root}/wrappers:/usr/bin:/bin"},
        ),
        # it runs these two
        Program(name="mcopy", path="usr/bin/mcopy", package="mtools", minimum=(4, 0, 26), wrapped=True),
        Program(name="mattrib", path="usr/bin/mattrib", package="mtools", minimum=(4, 0, 26), wrapped=True),
    ),
    drop=("usr/lib/syslinux/modules/efi32", "usr/lib/syslinux/modules/efi64"),
)  # fmt: skip

BOOT_EFI = Group(name="boot-efi", packages=("systemd-boot-efi",), programs=())

SQUASHFS = Group(
    name="squashfs",
    packages=("squashfs-tools",),
    programs=(
        # 4.6 is the first that can be told the time of the root
        Program(
            name="sqfstar", path="usr/bin/sqfstar", package="squashfs-tools", minimum=(4, 6), ask=("-version",),
        ),
        Program(
            name="unsquashfs", path="usr/bin/unsquashfs", package="squashfs-tools", minimum=(4, 6),
            ask=("-version",),
        ),
    ),
    brew=("squashfs",),
)  # fmt: skip

GROUPS: Mapping[str, Group] = {
    group.name: group
    for group in (
        DOCKER,
        NET,
        UML,
        QEMU,
        QEMU_ARM,
        VZ,
        QEMU_UTILS,
        IMAGE,
        SHARE,
        UEFI,
        UEFI_ARM,
        BOOT_BIOS,
        BOOT_EFI,
        SQUASHFS,
    )
}
"""Every group by its name."""


def group_of(name: str) -> Group:
    """The group of that name.

    Raises:
        NotFoundError: there is none.
    """
    if name not in GROUPS:
        raise NotFoundError(f"there is no toolbox {name!r}", hint=f"Known: {', '.join(GROUPS)}.")
    return GROUPS[name]
