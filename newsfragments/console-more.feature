In the console: the wall goes on patrol through chosen vehicles and channels; plate, channel, time and speed stand over the pictures and in saved ones; administrators read and export
the audit; `/api/` is a page to read the API and try it. Every page is tested in Chromium, in two languages, on a phone's width, and by axe-core.
