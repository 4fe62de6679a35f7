/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels that ksnif builds for. The only version tests. */
#ifndef _KSNIF_COMPAT_H
#define _KSNIF_COMPAT_H

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/version.h>
#include <net/genetlink.h>

/*
 * notify_change() on an open file. 6.3 replaced the mount's user namespace by its
 * idmapping.
 */
static inline int ksnif_notify_change(struct file *file, struct iattr *attr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	return notify_change(file_mnt_idmap(file), file->f_path.dentry, attr, NULL);
#else
	return notify_change(file_mnt_user_ns(file), file->f_path.dentry, attr, NULL);
#endif
}

/*
 * procfs and sysfs, as kernel/acct.c tells them. Later kernels have a file system flag
 * instead of the superblock's.
 */
static inline bool ksnif_is_proc_or_sysfs(const struct super_block *sb)
{
#ifdef SB_I_USERNS_VISIBLE
	return sb->s_iflags & SB_I_USERNS_VISIBLE;
#else
	return sb->s_type->fs_flags & FS_USERNS_MOUNT_RESTRICTED;
#endif
}

/* The attributes of a dump's request, which 6.6 moved. */
static inline struct nlattr **ksnif_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return genl_info_dump(cb)->attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif
}

#endif /* _KSNIF_COMPAT_H */
