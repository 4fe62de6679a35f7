/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels that ksnif builds for. The only version tests. */
#ifndef _KSNIF_COMPAT_H
#define _KSNIF_COMPAT_H

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/version.h>
#include <net/genetlink.h>

/* Exported by all, but 6.1 has it in no header that modules see. */
int vfs_path_lookup(struct dentry *dentry, struct vfsmount *mnt, const char *name,
		    unsigned int flags, struct path *path);

/* notify_change() on an open file. 6.3 replaced the mount's user namespace by its idmapping. */
static inline int ksnif_notify_change(struct file *file, struct iattr *attr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	return notify_change(file_mnt_idmap(file), file->f_path.dentry, attr, NULL);
#else
	return notify_change(file_mnt_user_ns(file), file->f_path.dentry, attr, NULL);
#endif
}

/* Who may listen to events. Before 6.1.173 or so the same flag was tested for no less. */
#ifndef GENL_MCAST_CAP_NET_ADMIN
#define GENL_MCAST_CAP_NET_ADMIN GENL_UNS_ADMIN_PERM
#endif

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
