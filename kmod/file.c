// SPDX-License-Identifier: GPL-2.0
/*
 * The capture file. It is opened, written, cut back, synced and closed on the capture's own
 * workqueue alone, in the root directory and under the credentials and file size limit of
 * whoever started the capture. Modelled on kernel/acct.c, which also lets the kernel write a
 * file that a user named.
 */
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/magic.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "ksnif.h"

/* How long to wait before asking a frozen file system again. */
#define FILE_FROZEN_WAIT	(HZ / 10)

/* Bytes that direct I/O has allocated ahead of what it writes. */
#define FILE_AHEAD		(16 * 1024 * 1024)

/* The files being written, whatever the namespace. A file is in here from open to close. */
static DEFINE_MUTEX(files_lock);
static LIST_HEAD(files);

#define CONFIGFS_SUPER_MAGIC	0x62656570	/* as in fs/configfs/mount.c alone */

/* Is it the kernel's own? To write there is to tell the kernel something. */
static bool file_is_kernels(const struct super_block *sb)
{
	return sb->s_flags & (SB_NOUSER | SB_KERNMOUNT) ||
	       sb->s_iflags & SB_I_USERNS_VISIBLE ||	/* procfs, sysfs */
	       sb->s_magic == CGROUP_SUPER_MAGIC || sb->s_magic == CGROUP2_SUPER_MAGIC ||
	       sb->s_magic == CONFIGFS_SUPER_MAGIC || sb->s_magic == RDTGROUP_SUPER_MAGIC;
}

/* Only a regular file of a real file system will do. */
static int file_check(struct inode *inode, struct netlink_ext_ack *extack)
{
	if (S_ISLNK(inode->i_mode))
		return ksnif_refuse(extack, -ELOOP, "logfile: is a symbolic link");
	if (S_ISDIR(inode->i_mode))
		return ksnif_refuse(extack, -EISDIR, "logfile: is a directory");
	if (!S_ISREG(inode->i_mode))
		return ksnif_refuse(extack, -EINVAL, "logfile: not a regular file");
	if (file_is_kernels(inode->i_sb))
		return ksnif_refuse(extack, -EINVAL,
				    "logfile: on a file system of the kernel's own");
	return 0;
}

/*
 * Opening or truncating would wait for the thaw. Better to say at once why it would. A freeze
 * that begins right after this is waited for.
 */
static int file_check_thawed(struct super_block *sb, struct netlink_ext_ack *extack)
{
	if (READ_ONCE(sb->s_writers.frozen) == SB_UNFROZEN)
		return 0;
	return ksnif_refuse(extack, -EBUSY, "logfile: the file system is frozen");
}

/*
 * Look up the directory of @path, and @name of the file in it. Magic links of procfs are not
 * followed: those of /proc/self are not the caller's here, and would lead out of his root.
 */
static int file_find_dir(const struct path *root, const char *path, struct path *dir,
			 const char **name)
{
	const char *slash = strrchr(path, '/');
	char *dirname = kstrndup(path, slash + 1 - path, GFP_KERNEL);
	int err;

	if (!dirname)
		return -ENOMEM;
	err = vfs_path_lookup(root->dentry, root->mnt, dirname,
			      LOOKUP_FOLLOW | LOOKUP_DIRECTORY | LOOKUP_NO_MAGICLINKS, dir);
	kfree(dirname);
	*name = slash[1] ? slash + 1 : ".";
	/* a name that ends in a slash is a directory's, and none is made */
	return err == -ENOENT && !slash[1] ? -EISDIR : err;
}

/* Before the file is opened: opening a FIFO or a device can block or do things. */
static int file_check_path(const struct path *dir, const char *name, struct netlink_ext_ack *extack)
{
	struct file *file = file_open_root(dir, name, O_PATH | O_NOFOLLOW, 0);
	int err = PTR_ERR_OR_ZERO(file);

	if (err == -ENOENT)	/* it will be made */
		return file_check_thawed(dir->dentry->d_sb, extack);
	if (err)
		return err;
	err = file_check(file_inode(file), extack) ?:
	      file_check_thawed(file_inode(file)->i_sb, extack);
	__fput_sync(file);
	return err;
}

/* The file itself: overlayfs puts an inode of its own in front. */
static struct inode *file_real_inode(struct ksnif_file *f)
{
	return d_real_inode(f->file->f_path.dentry);
}

/* Only one capture may write a file. */
static int file_claim(struct ksnif_file *f, struct netlink_ext_ack *extack)
{
	struct ksnif_file *other;
	int err = 0;

	mutex_lock(&files_lock);
	list_for_each_entry(other, &files, list)
		if (file_real_inode(other) == file_real_inode(f))
			err = ksnif_refuse(extack, -EBUSY, "logfile: another capture writes it");
	if (!err)
		list_add(&f->list, &files);
	mutex_unlock(&files_lock);
	return err;
}

static void file_disclaim(struct ksnif_file *f)
{
	mutex_lock(&files_lock);
	list_del(&f->list);
	mutex_unlock(&files_lock);
}

static const char *file_open_text(int err)
{
	switch (err) {
	case -ENOENT:
		return "logfile: no such directory";
	case -EACCES:
	case -EPERM:
		return "logfile: no permission";
	case -EROFS:
		return "logfile: read-only file system";
	case -ENOTDIR:
		return "logfile: part of the path is no directory";
	case -EISDIR:
		return "logfile: is a directory";
	case -ELOOP:
		return "logfile: is a symbolic link";
	case -ENOSPC:
		return "logfile: no space left on device";
	case -EWOULDBLOCK:
		return "logfile: another process holds a lease on it: try again";
	default:
		return "logfile: cannot be opened";
	}
}

/* A freeze may last for as long as its owner likes: sleep as the hung task detector accepts. */
static void file_start_write_patiently(struct file *file)
{
	while (!file_start_write_trylock(file))
		schedule_timeout_idle(FILE_FROZEN_WAIT);
}

/* What follows waits uninterruptibly only for a freeze that begins right now. */
static void file_await_thaw(struct file *file)
{
	file_start_write_patiently(file);
	file_end_write(file);
}

/*
 * Cut the file back to @size bytes; writing goes on behind them. Waits while the file system is
 * frozen. 0 or a negative errno.
 */
ksnif_injectable int ksnif_file_cut(struct ksnif_file *f, loff_t size)
{
	struct iattr attr = {
		.ia_valid = ATTR_SIZE | ATTR_FILE | ATTR_MTIME | ATTR_CTIME,
		.ia_size = size,
		.ia_file = f->file,
	};
	struct inode *inode = file_inode(f->file);
	int err;

	file_start_write_patiently(f->file);
	inode_lock(inode);
	err = ksnif_notify_change(f->file, &attr);
	inode_unlock(inode);
	file_end_write(f->file);
	if (!err)
		f->pos = size;
	return err;
}

KSNIF_INJECT(ksnif_file_cut, ERRNO);

/*
 * Can the file be written past the page cache, by whole pages? Some file systems say so for each
 * file; the others are believed. overlayfs says yes, whatever lies below it.
 */
bool ksnif_file_can_direct(struct ksnif_file *f)
{
	struct kstat stat;

	if (!(f->file->f_mode & FMODE_CAN_ODIRECT) || file_inode(f->file) != file_real_inode(f))
		return false;
	if (vfs_getattr(&f->file->f_path, &stat, STATX_DIOALIGN, AT_STATX_DONT_SYNC))
		return false;
	return !(stat.result_mask & STATX_DIOALIGN) ||
	       (stat.dio_offset_align && PAGE_SIZE % stat.dio_offset_align == 0);
}

/*
 * Have the file system find room for the next writes in one go; the file grows no longer by it.
 * The cut at the end gives back what was not needed. Where there is not as much, it is given back
 * at once: others may want it, and the write itself takes what it needs.
 */
static void file_allocate_ahead(struct ksnif_file *f, u64 n)
{
	loff_t pos = f->pos, most = min_t(u64, f->limit, file_inode(f->file)->i_sb->s_maxbytes);

	if (pos + n <= f->ahead || pos + n + FILE_AHEAD > most)
		return;
	f->ahead = pos + n + FILE_AHEAD;
	file_await_thaw(f->file);
	if (!vfs_fallocate(f->file, FALLOC_FL_KEEP_SIZE, pos, n + FILE_AHEAD))
		return;
	f->ahead = LLONG_MAX;	/* never again */
	ksnif_file_cut(f, i_size_read(file_inode(f->file)));
	f->pos = pos;
}

/* One write; kernel_write() would wait for a thaw uninterruptibly. */
static ksnif_injectable ssize_t ksnif_file_write_once(struct ksnif_file *f, struct iov_iter *from)
{
	size_t len = iov_iter_count(from);
	struct kiocb kiocb;
	ssize_t ret;

	/* may ask a fanotify listener, who may write himself: hence first, as in vfs_write() */
	ret = rw_verify_area(WRITE, f->file, &f->pos, len);
	if (ret)
		return ret;
	file_start_write_patiently(f->file);
	init_sync_kiocb(&kiocb, f->file);
	kiocb.ki_pos = f->pos;
	if (f->align > 1)
		kiocb.ki_flags |= IOCB_DIRECT;	/* as the loop driver does */
	ret = f->file->f_op->write_iter(&kiocb, from);
	file_end_write(f->file);
	if (ret > 0)
		fsnotify_modify(f->file);	/* for tail -f and its like */
	return ret;
}

KSNIF_INJECT(ksnif_file_write_once, ERRNO);

/*
 * Bytes that may be written at @f->pos if there are @n, whole pages with direct I/O. The kernel
 * checks the limit of current, which is a worker.
 */
static u64 file_allowed(const struct ksnif_file *f, u64 n)
{
	if (f->limit == RLIM_INFINITY || f->pos + n <= f->limit)
		return n;
	return f->pos < f->limit ? round_down(f->limit - f->pos, f->align) : 0;
}

/*
 * Write at @f->pos, which moves on by the bytes that the file system accepted, also before an
 * error. Waits while the file system is frozen. 0 or a negative errno.
 */
int ksnif_file_write(struct ksnif_file *f, struct iov_iter *from)
{
	u64 most = U64_MAX;
	size_t left;

	while ((left = iov_iter_count(from))) {
		u64 n = file_allowed(f, min_t(u64, left, most));
		ssize_t ret;

		if (!n)
			return -EFBIG;
		if (f->align > 1)
			file_allocate_ahead(f, n);
		iov_iter_truncate(from, n);
		ret = ksnif_file_write_once(f, from);
		iov_iter_revert(from, n - max_t(ssize_t, ret, 0) - iov_iter_count(from));
		iov_iter_reexpand(from, left - max_t(ssize_t, ret, 0));
		/* a direct write that does not fit is refused as a whole; a part of it may fit */
		if (ret == -ENOSPC && n > f->align && f->align > 1) {
			most = round_down(n / 2, f->align);
			continue;
		}
		if (ret < 0) {
			/* one that was accepted and could not be synced has grown the file */
			f->grown = i_size_read(file_inode(f->file)) > f->pos;
			return ret;
		}
		if (!ret || ret % f->align)
			return -EIO;
		f->pos += ret;
	}
	return 0;
}

/* What was written is on disk: 0, or a negative errno. */
ksnif_injectable int ksnif_file_sync(struct ksnif_file *f)
{
	return vfs_fsync(f->file, 0);
}

KSNIF_INJECT(ksnif_file_sync, ERRNO);

/*
 * Empty the file, as truncate(2) would for the current credentials. Waits while the file
 * system is frozen; does nothing if nobody wants it any more by then. 0 or a negative errno.
 */
ksnif_injectable int ksnif_file_empty(struct ksnif_file *f, const bool *unwanted)
{
	file_await_thaw(f->file);
	return READ_ONCE(*unwanted) ? 0 : vfs_truncate(&f->file->f_path, 0);
}

KSNIF_INJECT(ksnif_file_empty, ERRNO);

/* Sets @f->file. 0 or a negative errno. */
static ksnif_injectable int ksnif_file_open_root(struct ksnif_file *f, const struct path *dir,
						 const char *name)
{
	struct file *file = file_open_root(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW |
					   O_NONBLOCK | O_LARGEFILE | O_NOCTTY, 0600);

	if (IS_ERR(file))
		return PTR_ERR(file);
	f->file = file;
	return 0;
}

KSNIF_INJECT(ksnif_file_open_root, ERRNO);

/*
 * Open and claim a capture file, which is created with mode 0600 if it is not there. The
 * absolute @path is resolved in @root and its mount namespace, with the rights of the current
 * credentials; may sleep, on a dead file system for long. 0 or a negative errno.
 */
int ksnif_file_open(struct ksnif_file *f, const struct path *root, const char *path,
		    struct netlink_ext_ack *extack)
{
	struct file *file;
	const char *name;
	struct path dir;
	int err;

	err = file_find_dir(root, path, &dir, &name);
	if (err)
		goto out;
	err = file_check_path(&dir, name, extack) ?: ksnif_file_open_root(f, &dir, name);
	path_put(&dir);
	if (err)
		goto out;
	file = f->file;
	f->pos = 0;

	/* it may be another one than file_check_path() saw */
	err = file_check(file_inode(file), extack);
	if (!err && (!(file->f_mode & FMODE_CAN_WRITE) || !file->f_op->write_iter))
		err = -EINVAL;
	if (err)
		goto err_close;
	err = file_claim(f, extack);
	if (!err)
		return 0;

err_close:
	f->file = NULL;
	__fput_sync(file);
out:
	if (err && !extack->_msg)
		extack->_msg = file_open_text(err);
	return err;
}

/* Some file systems, of FUSE, store only now what they have accepted. 0 or a negative errno. */
static ksnif_injectable int ksnif_file_flush(struct file *file)
{
	return file->f_op->flush ? file->f_op->flush(file, NULL) : 0;
}

KSNIF_INJECT(ksnif_file_flush, ERRNO);

/*
 * Close the file for good. A plain fput() would be put off, and an umount right after a stop
 * would find the file system busy. __fput_sync() insists on a kernel thread. The file is closed
 * in any case; 0, or the negative errno that close(2) would return.
 */
int ksnif_file_close(struct ksnif_file *f)
{
	int err;

	file_disclaim(f);
	/* an unlinked file is deleted now, which a frozen file system makes wait too */
	file_await_thaw(f->file);
	err = ksnif_file_flush(f->file);
	__fput_sync(f->file);
	f->file = NULL;
	return err;
}
